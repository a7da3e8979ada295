/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a medium is and what a system needs, by libosinfo and our overlay (data/osinfo), which knows
 * what Debian 12's database is too old for. Loaded once, in whichever thread asks first.
 */
#include <errno.h>
#include <osinfo/osinfo.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/daemon/daemon.h"

static GMutex lock;
static OsinfoDb *database;

static void load_overlay(OsinfoLoader *loader)
{
    static const char *const places[] = { GH_SOURCE_DATADIR "/osinfo", GH_DATADIR "/gasthaus/osinfo" };

    for (unsigned i = 0; i < G_N_ELEMENTS(places); i++)
        if (g_file_test(places[i], G_FILE_TEST_IS_DIR)) {
            osinfo_loader_process_path(loader, places[i], NULL);
            return;
        }
}

static OsinfoDb *get_database(void)
{
    g_mutex_lock(&lock);
    if (!database) {
        g_autoptr(OsinfoLoader) loader = osinfo_loader_new();
        osinfo_loader_process_default_path(loader, NULL);
        load_overlay(loader);
        database = g_object_ref(osinfo_loader_get_db(loader));
    }
    g_mutex_unlock(&lock);
    return database;
}

static gpointer preload(gpointer data) { return get_database(); }
void gh_osinfo_preload(void) { g_thread_unref(g_thread_new("osinfo", preload, NULL)); }

/* The largest value any list states, or 0. */
static gint64 most(OsinfoResourcesList *list, gint64 (*get)(OsinfoResources *))
{
    gint64 best = 0;

    for (int i = 0; list && i < osinfo_list_get_length(OSINFO_LIST(list)); i++) {
        gint64 v = get(OSINFO_RESOURCES(osinfo_list_get_nth(OSINFO_LIST(list), i)));
        best = MAX(best, v);
    }
    return best;
}

static gint64 get_cpus(OsinfoResources *r) { return osinfo_resources_get_n_cpus(r); }

/* Recommended, or twice the minimum, or our default. */
static gint64 choose(OsinfoOs *os, gint64 (*get)(OsinfoResources *), gint64 fallback, gboolean twice)
{
    gint64 value = 0;

    if (os) {
        g_autoptr(OsinfoResourcesList) recommended = osinfo_os_get_recommended_resources(os);
        g_autoptr(OsinfoResourcesList) minimum = osinfo_os_get_minimum_resources(os);
        value = most(recommended, get);
        if (value <= 0)
            value = most(minimum, get) * (twice ? 2 : 1);
    }
    return value > 0 ? value : fallback;
}

/* The first name, or its form of virtio 1.0, is among the devices whose drivers the system brings. */
static gboolean has_driver(OsinfoOs *os, const char *name, const char *modern)
{
    g_autoptr(OsinfoDeviceList) devices = os ? osinfo_os_get_all_devices(os, NULL) : NULL;

    for (int i = 0; devices && i < osinfo_list_get_length(OSINFO_LIST(devices)); i++) {
        const char *has = osinfo_device_get_name(OSINFO_DEVICE(osinfo_list_get_nth(OSINFO_LIST(devices), i)));
        if (!g_strcmp0(has, name) || !g_strcmp0(has, modern))
            return TRUE;
    }
    return FALSE;
}

/* Virtio where it can be; e1000 and IDE are known to all others. */
static const char *choose_adapter(OsinfoOs *os)
{
    return has_driver(os, "virtio-net", "virtio1.0-net") ? "virtio-net" : "e1000";
}

static const char *choose_bus(OsinfoOs *os)
{
    return has_driver(os, "virtio-block", "virtio1.0-block") ? "virtio" : "ide";
}

static void describe(GVariantDict *dict, OsinfoOs *os)
{
    const gint64 mib = 1 << 20, gib = 1 << 30;
    gint64 memory = choose(os, osinfo_resources_get_ram, 2 * gib, TRUE);
    gint64 disk = choose(os, osinfo_resources_get_storage, 25 * gib, FALSE);
    gint64 cpus = choose(os, get_cpus, 2, FALSE);
    /* Never propose more than half of the host: it has to go on living. */
    gint64 host = (gint64)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    gint64 host_cpus = sysconf(_SC_NPROCESSORS_ONLN);

    memory = MIN(memory, MAX(host / 2 / mib * mib, 256 * mib));
    cpus = CLAMP(cpus, 1, MAX(host_cpus, 1));
    g_variant_dict_insert(dict, "os-id", "s", os ? osinfo_entity_get_id(OSINFO_ENTITY(os)) : "");
    g_variant_dict_insert(dict, "os-name", "s", os ? osinfo_product_get_name(OSINFO_PRODUCT(os)) : "");
    g_variant_dict_insert(dict, "os-family", "s", os && osinfo_os_get_family(os) ? osinfo_os_get_family(os) : "");
    g_variant_dict_insert(dict, "memory-bytes", "t", (guint64)memory);
    g_variant_dict_insert(dict, "disk-bytes", "t", (guint64)disk);
    g_variant_dict_insert(dict, "cpus", "u", (guint32)cpus);
    g_variant_dict_insert(dict, "network-adapter", "s", choose_adapter(os));
    g_variant_dict_insert(dict, "disk-bus", "s", choose_bus(os));
}

static gint newest_first(gconstpointer a, gconstpointer b)
{
    g_autofree char *x = osinfo_product_get_release_date_string(OSINFO_PRODUCT((gpointer)a)) ?
        g_strdup(osinfo_product_get_release_date_string(OSINFO_PRODUCT((gpointer)a))) : NULL;
    const char *y = osinfo_product_get_release_date_string(OSINFO_PRODUCT((gpointer)b));

    return -g_strcmp0(x, y);
}

/* All systems whose media look like this one; the first is the best guess. */
static GList *matching_systems(OsinfoDb *db, OsinfoMedia *medium, OsinfoMedia **ret_best)
{
    g_autoptr(OsinfoMediaList) matches = osinfo_db_identify_medialist(db, medium);
    GList *systems = NULL;

    for (int i = 0; i < osinfo_list_get_length(OSINFO_LIST(matches)); i++) {
        OsinfoMedia *m = OSINFO_MEDIA(osinfo_list_get_nth(OSINFO_LIST(matches), i));
        g_autoptr(OsinfoOs) os = osinfo_media_get_os(m);
        if (!os || g_list_find(systems, os))
            continue;
        if (!*ret_best)
            *ret_best = g_object_ref(m);
        systems = g_list_append(systems, os);
    }
    return g_list_sort(systems, newest_first);
}

static int check_file(const char *path, struct gh_error *err)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return gh_error_option(err, -errno, errno == ENOENT ? "MediumMissing" : "MediumUnreadable", "media", "“%s” cannot be opened: %s.", path, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return gh_error_option(err, -EISDIR, "MediumIsFolder", "media", "“%s” is a folder; choose a CD image file (.iso).", path);
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return gh_error_option(err, -EINVAL, "MediumUnreadable", "media", "“%s” is not a file; choose a CD image file (.iso).", path);
    if (S_ISREG(st.st_mode) && st.st_size == 0)
        return gh_error_option(err, -EINVAL, "MediumEmpty", "media", "“%s” is empty; download or copy it again.", path);
    if (access(path, R_OK) < 0)
        return gh_error_option(err, -errno, "MediumUnreadable", "media", "“%s” cannot be read: %s.", path, strerror(errno));
    return 0;
}

GVariant *gh_osinfo_identify(const char *path, struct gh_error *err)
{
    GVariantDict dict;
    g_autoptr(GError) error = NULL;

    if (check_file(path, err) < 0)
        return NULL;
    OsinfoDb *db = get_database();
    g_autoptr(OsinfoMedia) medium = osinfo_media_create_from_location_with_flags(path, NULL, 0, &error);
    g_autoptr(OsinfoMedia) best = NULL;
    GList *systems = medium ? matching_systems(db, medium, &best) : NULL;
    OsinfoOs *os = systems ? systems->data : NULL;

    g_variant_dict_init(&dict, NULL);
    describe(&dict, os);
    g_variant_dict_insert(&dict, "path", "s", path);
    g_variant_dict_insert(&dict, "recognized", "b", os != NULL);
    g_variant_dict_insert(&dict, "is-iso", "b", medium != NULL);
    g_variant_dict_insert(&dict, "bootable", "b", medium && osinfo_media_is_bootable(medium));
    g_variant_dict_insert(&dict, "volume", "s", medium && osinfo_media_get_volume_id(medium) ? osinfo_media_get_volume_id(medium) : "");
    g_variant_dict_insert(&dict, "arch", "s", best && osinfo_media_get_architecture(best) ? osinfo_media_get_architecture(best) : "");
    g_variant_dict_insert(&dict, "live", "b", best && osinfo_media_get_live(best));
    g_variant_dict_insert(&dict, "installer", "b", best && osinfo_media_get_installer(best));
    GVariantBuilder others;
    g_variant_builder_init(&others, G_VARIANT_TYPE("a(ss)"));
    for (GList *l = systems; l; l = l->next)
        g_variant_builder_add(&others, "(ss)", osinfo_entity_get_id(l->data), osinfo_product_get_name(l->data));
    g_variant_dict_insert_value(&dict, "alternatives", g_variant_builder_end(&others));
    g_list_free(systems);
    return g_variant_dict_end(&dict);
}

static OsinfoOs *find_os(const char *os_id)
{ return os_id && os_id[0] ? osinfo_db_get_os(get_database(), os_id) : NULL; }

GVariant *gh_osinfo_recommend(const char *os_id)
{
    GVariantDict dict;

    g_variant_dict_init(&dict, NULL);
    describe(&dict, find_os(os_id));
    return g_variant_dict_end(&dict);
}

char *gh_osinfo_name(const char *os_id)
{
    OsinfoOs *os = find_os(os_id);

    return os ? g_strdup(osinfo_product_get_name(OSINFO_PRODUCT(os))) : NULL;
}

GVariant *gh_osinfo_list(void)
{
    g_autoptr(OsinfoOsList) list = osinfo_db_get_os_list(get_database());
    GVariantBuilder b;

    g_variant_builder_init(&b, G_VARIANT_TYPE("a(ss)"));
    for (int i = 0; i < osinfo_list_get_length(OSINFO_LIST(list)); i++) {
        OsinfoEntity *os = osinfo_list_get_nth(OSINFO_LIST(list), i);
        g_variant_builder_add(&b, "(ss)", osinfo_entity_get_id(os), osinfo_product_get_name(OSINFO_PRODUCT(os)));
    }
    return g_variant_builder_end(&b);
}
