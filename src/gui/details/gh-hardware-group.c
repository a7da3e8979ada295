/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/details/gh-hardware-group.h"

#include <glib/gi18n.h>

#include "gui/gh-rows.h"
#include "gui/gh-util.h"

/* A number is saved when the hand rests. */
#define SAVE_AFTER_MS 700

struct _GhHardwareGroup {
    AdwPreferencesGroup parent_instance;
    GhMachine *machine;
    GtkWidget *memory_row, *cpus_row, *accel;
    GtkSpinButton *memory, *cpus;
    guint memory_timer, cpus_timer;
    gboolean filling;
};

G_DEFINE_FINAL_TYPE (GhHardwareGroup, gh_hardware_group, ADW_TYPE_PREFERENCES_GROUP)

static const char *const accelerators[] = { "auto", "kvm", "soft" };

static guint accel_index (const char *name)
{
    for (guint i = 0; name && i < G_N_ELEMENTS (accelerators); i++)
        if (g_str_equal (name, accelerators[i]))
            return i;
    return 0;
}

static void refresh (GhHardwareGroup *self)
{
    GhEngine1Machine *proxy = gh_machine_get_proxy (self->machine);
    const char *on_what = gh_engine1_machine_get_running_on (proxy), *why = gh_engine1_machine_get_running_why (proxy);
    gboolean on = gh_machine_is_on (self->machine);
    g_autofree char *size = gh_format_size (gh_engine1_machine_get_memory_bytes (proxy));
    g_autofree char *later = on ? g_strdup_printf ("%s · %s", size, _ ("Changes count from the next start")) : g_steal_pointer (&size);
    const char *runs = on && why && why[0] ? why : on && on_what && on_what[0] ? on_what : _ ("Automatic takes the fastest that this computer has");

    self->filling = TRUE;
    if (!self->memory_timer)
        gtk_spin_button_set_value (self->memory, (double) (gh_engine1_machine_get_memory_bytes (proxy) >> 20));
    if (!self->cpus_timer)
        gtk_spin_button_set_value (self->cpus, gh_engine1_machine_get_cpus (proxy));
    adw_action_row_set_subtitle (ADW_ACTION_ROW (self->memory_row), later);
    adw_combo_row_set_selected (ADW_COMBO_ROW (self->accel), accel_index (gh_engine1_machine_get_accelerator (proxy)));
    adw_action_row_set_subtitle (ADW_ACTION_ROW (self->accel), runs);
    self->filling = FALSE;
}

static void save_memory (GhHardwareGroup *self)
{
    guint64 bytes = (guint64) gtk_spin_button_get_value_as_int (self->memory) << 20;

    g_clear_handle_id (&self->memory_timer, g_source_remove);
    gh_machine_change (self->machine, "memory-bytes", g_variant_new_uint64 (bytes), GTK_WIDGET (self));
}

static void save_cpus (GhHardwareGroup *self)
{
    g_clear_handle_id (&self->cpus_timer, g_source_remove);
    gh_machine_change (self->machine, "cpus", g_variant_new_uint32 ((guint32) gtk_spin_button_get_value_as_int (self->cpus)), GTK_WIDGET (self));
}

static gboolean on_memory_rest (gpointer data)
{
    ((GhHardwareGroup *) data)->memory_timer = 0;
    save_memory (data);
    return G_SOURCE_REMOVE;
}

static gboolean on_cpus_rest (gpointer data)
{
    ((GhHardwareGroup *) data)->cpus_timer = 0;
    save_cpus (data);
    return G_SOURCE_REMOVE;
}

static void on_memory (GhHardwareGroup *self)
{
    if (self->filling || !self->machine)
        return;
    g_clear_handle_id (&self->memory_timer, g_source_remove);
    self->memory_timer = g_timeout_add (SAVE_AFTER_MS, on_memory_rest, self);
}

static void on_cpus (GhHardwareGroup *self)
{
    if (self->filling || !self->machine)
        return;
    g_clear_handle_id (&self->cpus_timer, g_source_remove);
    self->cpus_timer = g_timeout_add (SAVE_AFTER_MS, on_cpus_rest, self);
}

static void on_accel (GhHardwareGroup *self)
{
    guint i = adw_combo_row_get_selected (ADW_COMBO_ROW (self->accel));

    if (!self->filling && self->machine && i < G_N_ELEMENTS (accelerators))
        gh_machine_change (self->machine, "accelerator", g_variant_new_string (accelerators[i]), GTK_WIDGET (self));
}

void gh_hardware_group_set_machine (GhHardwareGroup *self, GhMachine *machine)
{
    if (self->machine) {
        if (self->memory_timer)
            save_memory (self);
        if (self->cpus_timer)
            save_cpus (self);
        g_signal_handlers_disconnect_by_data (self->machine, self);
    }
    g_set_object (&self->machine, machine);
    if (!machine)
        return;
    g_signal_connect_object (machine, "changed", G_CALLBACK (refresh), self, G_CONNECT_SWAPPED);
    refresh (self);
}

static void gh_hardware_group_dispose (GObject *object)
{
    gh_hardware_group_set_machine (GH_HARDWARE_GROUP (object), NULL);
    G_OBJECT_CLASS (gh_hardware_group_parent_class)->dispose (object);
}

static void gh_hardware_group_class_init (GhHardwareGroupClass *klass) { G_OBJECT_CLASS (klass)->dispose = gh_hardware_group_dispose; }

static void gh_hardware_group_init (GhHardwareGroup *self)
{
    AdwPreferencesGroup *group = ADW_PREFERENCES_GROUP (self);

    adw_preferences_group_set_title (group, _ ("Hardware"));
    self->memory_row = gh_row_add_number (group, _ ("Memory in MiB"), 4, 1048576, 256, &self->memory);
    self->cpus_row = gh_row_add_number (group, _ ("Processors"), 1, 64, 1, &self->cpus);
    self->accel = gh_row_add_choice (group, _ ("Runs On"), (const char *[]){ _ ("Automatic"), _ ("KVM"), _ ("Software CPU"), NULL });
    adw_action_row_set_subtitle_lines (ADW_ACTION_ROW (self->accel), 4);
    g_signal_connect_swapped (self->memory, "value-changed", G_CALLBACK (on_memory), self);
    g_signal_connect_swapped (self->cpus, "value-changed", G_CALLBACK (on_cpus), self);
    g_signal_connect_swapped (self->accel, "notify::selected", G_CALLBACK (on_accel), self);
}
