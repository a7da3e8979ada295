/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Creation: settings over the system's profile, a folder, a disk, a definition. Everything is made in
 * a hidden folder that gets its name last, so that a failure, or a kill, leaves nothing half made.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "disk/disk.h"
#include "engine/daemon/daemon.h"

static int wrong_type(const char *key, GVariant *v, struct gh_error *err)
{
    return gh_error_option(err, -EINVAL, "SettingInvalid", key, "The setting “%s” cannot have a value of type “%s”.", key, g_variant_get_type_string(v));
}

static int take_string(const char *key, GVariant *v, char *out, size_t size, struct gh_error *err)
{
    if (!g_variant_is_of_type(v, G_VARIANT_TYPE_STRING))
        return wrong_type(key, v, err);
    if (strlen(g_variant_get_string(v, NULL)) >= size)
        return gh_error_option(err, -EINVAL, "SettingInvalid", key, "The value of “%s” is too long.", key);
    g_strlcpy(out, g_variant_get_string(v, NULL), size);
    return 0;
}

static int take_number(const char *key, GVariant *v, guint64 *out, struct gh_error *err)
{
    if (g_variant_is_of_type(v, G_VARIANT_TYPE_UINT64))
        *out = g_variant_get_uint64(v);
    else if (g_variant_is_of_type(v, G_VARIANT_TYPE_UINT32))
        *out = g_variant_get_uint32(v);
    else
        return wrong_type(key, v, err);
    return 0;
}

int gh_settings_apply(struct gh_definition *def, GVariant *settings, struct gh_error *err)
{
    GVariantIter iter;
    const char *key;
    GVariant *value;
    int r = 0;

    g_variant_iter_init(&iter, settings);
    while (r == 0 && g_variant_iter_next(&iter, "{&sv}", &key, &value)) {
        guint64 number = 0;
        if (!strcmp(key, "name")) {
            r = take_string(key, value, def->name, sizeof def->name, err);
        } else if (!strcmp(key, "description")) {
            if (!g_variant_is_of_type(value, G_VARIANT_TYPE_STRING)) {
                r = wrong_type(key, value, err);
            } else {
                free(def->description);
                def->description = strdup(g_variant_get_string(value, NULL));
            }
        } else if (!strcmp(key, "os-id")) {
            r = take_string(key, value, def->os_id, sizeof def->os_id, err);
        } else if (!strcmp(key, "memory-bytes")) {
            r = take_number(key, value, &def->memory_bytes, err);
        } else if (!strcmp(key, "cpus")) {
            r = take_number(key, value, &number, err);
            def->cpus = (uint32_t)MIN(number, G_MAXUINT32);
        } else if (!strcmp(key, "accelerator")) {
            r = take_string(key, value, def->accelerator, sizeof def->accelerator, err);
        } else if (!strcmp(key, "cpu-model")) {
            r = take_string(key, value, def->cpu_model, sizeof def->cpu_model, err);
        } else if (!strcmp(key, "boot-order")) {
            r = take_string(key, value, def->boot_order, sizeof def->boot_order, err);
        } else if (!strcmp(key, "firmware")) {
            r = take_string(key, value, def->firmware, sizeof def->firmware, err);
        } else if (!strcmp(key, "clock-base")) {
            r = take_string(key, value, def->clock_base, sizeof def->clock_base, err);
        } else if (strcmp(key, "media") && strcmp(key, "disk-bytes") && strcmp(key, "disk-format") && strcmp(key, "disk-bus") && strcmp(key, "network-adapter")) {
            r = gh_error_option(err, -EINVAL, "SettingUnknown", key, "There is no setting called “%s”.", key);
        }
        g_variant_unref(value);
    }
    return r;
}

/* A folder name that people recognise and that no file system objects to. */
static char *folder_name(const char *name)
{
    g_autofree char *out = g_strdup(name);

    for (char *p = out; *p; p++)
        if ((unsigned char)*p < 0x20 || strchr("/\\:*?\"<>|", *p))
            *p = '_';
    g_strstrip(out);
    if (!out[0] || out[0] == '.')
        return g_strconcat("machine-", out + (out[0] == '.'), NULL);
    return g_steal_pointer(&out);
}

char *gh_create_free_folder(const char *parent, const char *name)
{
    g_autofree char *base = folder_name(name);

    for (unsigned i = 1; i < 1000; i++) {
        g_autofree char *leaf = i == 1 ? g_strdup(base) : g_strdup_printf("%s (%u)", base, i);
        g_autofree char *path = g_build_filename(parent, leaf, NULL);
        if (!g_file_test(path, G_FILE_TEST_EXISTS))
            return g_steal_pointer(&path);
    }
    return NULL;
}

void gh_create_remove_tree(const char *folder)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        if (g_file_test(path, G_FILE_TEST_IS_DIR) && !g_file_test(path, G_FILE_TEST_IS_SYMLINK))
            gh_create_remove_tree(path);
        else
            g_unlink(path);
    }
    g_rmdir(folder);
}

static int make_disk(const char *folder, const char *file, const char *format, guint64 bytes, struct gh_error *err)
{
    g_autofree char *path = g_build_filename(folder, file, NULL);
    struct gh_image_create how = { .format = format, .bytes = bytes, .own_name = file };
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0)
        return gh_error_option(err, -errno, "DiskNotCreated", "disk-bytes", "The disk “%s” cannot be made: %s.", path, strerror(errno));
    return gh_image_create(fd, path, &how, err);
}

static int default_hardware(struct gh_definition *def, GVariantDict *settings, const char *bus, const char *folder, struct gh_error *err)
{
    guint64 disk_bytes = 0;
    const char *media = NULL, *format = "qcow2";
    int r = 0;

    g_variant_dict_lookup(settings, "disk-bytes", "t", &disk_bytes);
    g_variant_dict_lookup(settings, "disk-format", "&s", &format);
    g_variant_dict_lookup(settings, "disk-bus", "&s", &bus);
    g_variant_dict_lookup(settings, "media", "&s", &media);
    if (disk_bytes) {
        if (disk_bytes < (1 << 20) || disk_bytes > GH_IMAGE_MAX_BYTES)
            return gh_error_option(err, -ERANGE, "DiskSizeOutOfRange", "disk-bytes", "A disk of %llu MiB is not possible; choose between 1 MiB and 64 TiB.",
                                   (unsigned long long)(disk_bytes >> 20));
        g_autofree char *file = g_strdup_printf("disk.%s", strcmp(format, "raw") ? format : "img");
        r = gh_definition_add_medium(def, GH_MEDIUM_DISK, bus, format, file, err);
        if (r == 0)
            r = gh_definition_check(def, err);
        if (r == 0)
            r = make_disk(folder, file, format, disk_bytes & ~511ull, err);
        if (r)
            return r;
    }
    g_autofree char *absolute = media && media[0] ? g_canonicalize_filename(media, NULL) : NULL;
    return gh_definition_add_medium(def, GH_MEDIUM_CDROM, "ide", "raw", absolute, err);
}

static int make_parts(struct gh_definition *def, GVariant *settings, const char *bus, const char *folder, struct gh_error *err)
{
    GVariantDict dict;

    g_variant_dict_init(&dict, settings);
    int r = default_hardware(def, &dict, bus, folder, err);
    g_variant_dict_clear(&dict);
    if (r == 0)
        r = gh_definition_check(def, err);
    if (r == 0)
        r = gh_store_save(folder, def, err);
    return r;
}

/* What the settings do not say comes from the system's profile. */
static int apply_profile(struct gh_definition *def, GVariant *settings, char bus[16], struct gh_error *err)
{
    GVariantDict dict;
    const char *media = NULL, *os_id = NULL;
    g_autoptr(GVariant) profile = NULL;

    g_variant_dict_init(&dict, settings);
    if (g_variant_dict_lookup(&dict, "media", "&s", &media) && media[0]) {
        GVariant *v = gh_osinfo_identify(media, err);
        if (!v) {
            g_variant_dict_clear(&dict);
            return err->code;
        }
        profile = g_variant_ref_sink(v);
    }
    if (g_variant_dict_lookup(&dict, "os-id", "&s", &os_id) || !profile) {
        g_clear_pointer(&profile, g_variant_unref);
        profile = g_variant_ref_sink(gh_osinfo_recommend(os_id));
    }
    GVariantDict p;
    guint64 memory = 0;
    guint32 cpus = 0;
    const char *id = "", *adapter = "e1000", *disk_bus = "ide";
    g_variant_dict_init(&p, profile);
    if (g_variant_dict_lookup(&p, "memory-bytes", "t", &memory))
        def->memory_bytes = memory & ~0xfffffull;
    if (g_variant_dict_lookup(&p, "cpus", "u", &cpus))
        def->cpus = cpus;
    if (g_variant_dict_lookup(&p, "os-id", "&s", &id))
        g_strlcpy(def->os_id, id, sizeof def->os_id);
    g_variant_dict_lookup(&p, "disk-bus", "&s", &disk_bus);
    g_strlcpy(bus, disk_bus, 16);
    g_variant_dict_lookup(&p, "network-adapter", "&s", &adapter);
    g_variant_dict_lookup(&dict, "network-adapter", "&s", &adapter);
    /* Online without anybody doing anything. */
    int r = strcmp(adapter, "none") && !gh_definition_add_network(def, adapter, "nat", err) ? -ENOSPC : 0;
    g_variant_dict_clear(&p);
    g_variant_dict_clear(&dict);
    if (r)
        return r;
    return gh_settings_apply(def, settings, err);
}

int gh_create_machine(struct gh_daemon *d, const char *name, GVariant *settings, struct gh_daemon_machine **ret,
                      struct gh_error *err)
{
    struct gh_definition *def = gh_definition_new();
    char bus[16]; /* of the disk, if the settings say none */
    int r = apply_profile(def, settings, bus, err);

    g_strlcpy(def->name, name, sizeof def->name);
    if (r == 0)
        r = gh_definition_check(def, err);
    if (r) {
        gh_definition_free(def);
        return r;
    }
    struct gh_hidden hidden;
    r = gh_hidden_make(d, ".creating-", def->uuid, &hidden, err);
    if (r) {
        gh_definition_free(def);
        return r;
    }
    r = make_parts(def, settings, bus, hidden.path, err);
    g_autofree char *folder = r ? NULL : gh_create_free_folder(d->machines_folder, name);
    if (r == 0 && (!folder || g_rename(hidden.path, folder) < 0))
        r = gh_error_set(err, -EEXIST, "FolderNotCreated", "No free folder name for “%s” could be found in “%s”.", name, d->machines_folder);
    gh_definition_free(def);
    gh_hidden_end(&hidden, r != 0);
    if (r)
        return r;
    *ret = gh_registry_add(d, folder, err);
    return *ret ? 0 : -EIO;
}
