/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/wizard/gh-create-window.h"

#include <glib/gi18n.h>

#include "gui/gh-util.h"
#include "gui/wizard/gh-found-media.h"

/* Typing a path asks the daemon only when the fingers rest. */
#define IDENTIFY_AFTER_MS 350

enum page { MEDIUM, MACHINE, REVIEW, N_PAGES };
static const char *const page_names[N_PAGES] = { "medium", "machine", "review" };

struct _GhCreateWindow {
    AdwWindow parent_instance;
    GhConnection *connection;
    GtkButton *back, *next;
    AdwWindowTitle *title;
    GtkStack *pages;
    enum page page;
    GtkWidget *browse, *spinner, *memory_row, *cpus_row, *disk_row;
    AdwPreferencesGroup *found, *review;
    GPtrArray *review_rows; /* made anew each time the page is shown */
    GtkRevealer *trouble;
    GtkLabel *trouble_text, *command;
    AdwEntryRow *medium, *name;
    AdwComboRow *system;
    GtkSpinButton *memory, *cpus, *disk;
    GtkSwitch *start;
    GPtrArray *system_ids; /* parallel to the combo row's texts */
    GCancellable *identify, *search;
    guint identify_timer;
    gboolean name_edited, filling, busy, at_once, refused;
};

G_DEFINE_FINAL_TYPE (GhCreateWindow, gh_create_window, ADW_TYPE_WINDOW)

static void on_create (GhCreateWindow *self);

static const char *text_of (AdwEntryRow *row) { return gtk_editable_get_text (GTK_EDITABLE (row)); }

static void refresh (GhCreateWindow *self)
{
    static const char *const steps[N_PAGES] = { N_ ("1 of 3: What it starts from"), N_ ("2 of 3: The machine"), N_ ("3 of 3: What will be made") };
    gboolean looking = self->identify || self->identify_timer;
    gboolean enough = self->page == MEDIUM ? !self->refused : text_of (self->name)[0] != 0;

    adw_window_title_set_subtitle (self->title, _ (steps[self->page]));
    gtk_button_set_label (self->back, self->page == MEDIUM ? _ ("_Cancel") : _ ("_Back"));
    gtk_button_set_label (self->next, self->page == REVIEW ? _ ("C_reate") : _ ("_Next"));
    gtk_widget_set_sensitive (GTK_WIDGET (self->next), enough && !self->busy && !looking);
    gtk_widget_set_sensitive (GTK_WIDGET (self->back), !self->busy);
    gtk_widget_set_visible (self->spinner, self->identify != NULL);
    gtk_spinner_set_spinning (GTK_SPINNER (self->spinner), self->identify != NULL);
}

/* ---- The pages ---------------------------------------------------------------------------------- */
static void add_review (GhCreateWindow *self, const char *title, const char *value)
{
    GtkWidget *row = adw_action_row_new (), *label = gtk_label_new (value);

    adw_preferences_row_set_title (ADW_PREFERENCES_ROW (row), title);
    gtk_label_set_ellipsize (GTK_LABEL (label), PANGO_ELLIPSIZE_MIDDLE);
    gtk_label_set_max_width_chars (GTK_LABEL (label), 42);
    gtk_label_set_xalign (GTK_LABEL (label), 1);
    gtk_widget_set_tooltip_text (label, value);
    gtk_widget_add_css_class (label, "dim-label");
    adw_action_row_add_suffix (ADW_ACTION_ROW (row), label);
    adw_preferences_group_add (self->review, row);
    g_ptr_array_add (self->review_rows, row);
}

static void add_word (GString *command, const char *option, const char *value)
{
    g_autofree char *quoted = g_shell_quote (value);

    g_string_append_printf (command, " %s %s", option, quoted);
}

static const char *system_id (GhCreateWindow *self)
{
    guint i = adw_combo_row_get_selected (self->system);

    return i < self->system_ids->len ? g_ptr_array_index (self->system_ids, i) : "";
}

static void fill_review (GhCreateWindow *self)
{
    int memory = gtk_spin_button_get_value_as_int (self->memory), cpus = gtk_spin_button_get_value_as_int (self->cpus);
    int disk = gtk_spin_button_get_value_as_int (self->disk);
    g_autofree char *memory_text = gh_format_size ((guint64) memory << 20);
    g_autofree char *cpus_text = g_strdup_printf ("%d", cpus);
    g_autofree char *disk_text = disk ? gh_format_size ((guint64) disk << 30) : g_strdup (_ ("None"));
    g_autofree char *memory_word = g_strdup_printf ("%dM", memory), *disk_word = g_strdup_printf ("%dG", disk);
    GtkStringObject *system = adw_combo_row_get_selected_item (self->system);
    GhEngine1 *engine = gh_connection_get_engine (self->connection);
    const char *medium = text_of (self->medium), *name = text_of (self->name), *folder = engine ? gh_engine1_get_machines_folder (engine) : NULL;
    g_autoptr (GString) command = g_string_new ("gasthausctl create");
    g_autofree char *quoted = g_shell_quote (name);

    for (guint i = 0; i < self->review_rows->len; i++)
        adw_preferences_group_remove (self->review, g_ptr_array_index (self->review_rows, i));
    g_ptr_array_set_size (self->review_rows, 0);
    add_review (self, _ ("Name"), name);
    g_autofree char *medium_text = gh_format_path (medium), *folder_text = gh_format_path (folder ? folder : "");
    add_review (self, _ ("Medium"), medium[0] ? medium_text : _ ("No medium"));
    add_review (self, _ ("Operating System"), system ? gtk_string_object_get_string (system) : "");
    add_review (self, _ ("Memory"), memory_text);
    add_review (self, _ ("Processors"), cpus_text);
    add_review (self, _ ("Disk"), disk_text);
    if (folder)
        add_review (self, _ ("Kept In"), folder_text);
    g_string_append_printf (command, " %s", quoted);
    if (medium[0])
        add_word (command, "--media", medium);
    if (system_id (self)[0])
        add_word (command, "--os", system_id (self));
    g_string_append_printf (command, " --memory %s --cpus %d --disk %s", memory_word, cpus, disk_word);
    gtk_label_set_text (self->command, command->str);
}

static void go (GhCreateWindow *self, enum page page)
{
    GtkWidget *first[N_PAGES] = { GTK_WIDGET (self->medium), GTK_WIDGET (self->name), GTK_WIDGET (self->next) };

    self->page = page;
    if (page == REVIEW)
        fill_review (self);
    gtk_stack_set_visible_child_name (self->pages, page_names[page]);
    refresh (self);
    gtk_widget_grab_focus (first[page]);
}

static void on_next (GhCreateWindow *self)
{
    if (self->page == REVIEW)
        on_create (self);
    else
        go (self, self->page + 1);
}

static void on_back (GhCreateWindow *self)
{
    if (self->page == MEDIUM)
        gtk_window_close (GTK_WINDOW (self));
    else
        go (self, self->page - 1);
}

static GtkWidget *row_of (GhCreateWindow *self, const char *id)
{
    if (g_str_has_prefix (id, "Medium"))
        return GTK_WIDGET (self->medium);
    if (g_str_has_prefix (id, "Memory"))
        return self->memory_row;
    if (g_str_has_prefix (id, "Cpus"))
        return self->cpus_row;
    if (g_str_has_prefix (id, "Disk") || g_str_has_prefix (id, "HostDisk"))
        return self->disk_row;
    return g_str_has_prefix (id, "Name") ? GTK_WIDGET (self->name) : NULL;
}

static void show_trouble (GhCreateWindow *self, const GError *error)
{
    GtkWidget *rows[] = { GTK_WIDGET (self->medium), GTK_WIDGET (self->name), self->memory_row, self->cpus_row, self->disk_row };

    for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
        gtk_widget_remove_css_class (rows[i], "error");
    gtk_revealer_set_reveal_child (self->trouble, error != NULL);
    if (!error)
        return;
    g_autofree char *text = gh_error_message (error);
    g_autofree char *id = gh_error_id (error);
    GtkWidget *row = row_of (self, id);
    gtk_label_set_text (self->trouble_text, text);
    if (row)
        gtk_widget_add_css_class (row, "error");
    /* To where it can be put right. */
    if (row && self->page == REVIEW)
        go (self, row == GTK_WIDGET (self->medium) ? MEDIUM : MACHINE);
}

static gboolean name_taken (GhCreateWindow *self, const char *name)
{
    GListModel *machines = gh_connection_get_machines (self->connection);

    for (guint i = 0; i < g_list_model_get_n_items (machines); i++) {
        g_autoptr (GhMachine) m = g_list_model_get_item (machines, i);
        if (g_str_equal (gh_machine_get_name (m), name))
            return TRUE;
    }
    return FALSE;
}

static void propose_name (GhCreateWindow *self, const char *base)
{
    g_autofree char *name = g_strdup (base);

    if (self->name_edited)
        return;
    for (guint n = 2; name_taken (self, name) && n < 10000; n++) {
        g_free (name);
        name = g_strdup_printf ("%s %u", base, n);
    }
    self->filling = TRUE;
    gtk_editable_set_text (GTK_EDITABLE (self->name), name);
    self->filling = FALSE;
}

static void fill_resources (GhCreateWindow *self, GVariant *info)
{
    guint64 memory = 0, disk = 0;
    guint32 cpus = 0;

    if (g_variant_lookup (info, "memory-bytes", "t", &memory) && memory)
        gtk_spin_button_set_value (self->memory, (double) (memory >> 20));
    if (g_variant_lookup (info, "disk-bytes", "t", &disk))
        gtk_spin_button_set_value (self->disk, (double) (disk >> 30));
    if (g_variant_lookup (info, "cpus", "u", &cpus) && cpus)
        gtk_spin_button_set_value (self->cpus, cpus);
}

static void fill_systems (GhCreateWindow *self, GVariant *alternatives)
{
    g_autoptr (GtkStringList) names = gtk_string_list_new (NULL);
    GVariantIter iter;
    const char *id, *name;

    g_ptr_array_set_size (self->system_ids, 0);
    if (alternatives) {
        g_variant_iter_init (&iter, alternatives);
        while (g_variant_iter_next (&iter, "(&s&s)", &id, &name)) {
            gtk_string_list_append (names, name);
            g_ptr_array_add (self->system_ids, g_strdup (id));
        }
    }
    gtk_string_list_append (names, _ ("Other or unknown"));
    g_ptr_array_add (self->system_ids, g_strdup (""));
    self->filling = TRUE;
    adw_combo_row_set_model (self->system, G_LIST_MODEL (names));
    adw_combo_row_set_selected (self->system, 0);
    self->filling = FALSE;
}

static void on_recommended (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr (GhCreateWindow) self = data;
    g_autoptr (GVariant) info = NULL;

    if (gh_engine1_call_recommend_finish (GH_ENGINE1 (source), &info, result, NULL) && self->connection)
        fill_resources (self, info);
}

static void on_system (GhCreateWindow *self)
{
    guint i = adw_combo_row_get_selected (self->system);
    GhEngine1 *engine = gh_connection_get_engine (self->connection);

    if (!self->filling && engine && i < self->system_ids->len)
        gh_engine1_call_recommend (engine, g_ptr_array_index (self->system_ids, i), NULL, on_recommended, g_object_ref (self));
}

static void on_identified (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr (GhCreateWindow) self = data;
    g_autoptr (GVariant) info = NULL;
    g_autoptr (GError) error = NULL;
    gboolean ok = gh_engine1_call_identify_medium_finish (GH_ENGINE1 (source), &info, result, &error);

    /* A later question took this one's place, or the window is gone. */
    if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED) || !self->connection)
        return;
    g_clear_object (&self->identify);
    self->refused = !ok;
    show_trouble (self, error);
    if (ok) {
        const char *os = "";
        g_autoptr (GVariant) alternatives = g_variant_lookup_value (info, "alternatives", G_VARIANT_TYPE ("a(ss)"));
        gboolean bootable = TRUE;
        g_variant_lookup (info, "os-name", "&s", &os);
        g_variant_lookup (info, "bootable", "b", &bootable);
        adw_action_row_set_subtitle (ADW_ACTION_ROW (self->system), bootable ? NULL : _ ("Nothing to start from was found on this medium"));
        fill_systems (self, alternatives);
        fill_resources (self, info);
        g_autofree char *base = g_path_get_basename (gtk_editable_get_text (GTK_EDITABLE (self->medium)));
        char *dot = strrchr (base, '.');
        if (dot && dot != base)
            *dot = 0;
        propose_name (self, os[0] ? os : base);
    }
    refresh (self);
    if (ok && self->at_once)
        on_create (self);
    self->at_once = FALSE;
}

static gboolean identify_now (gpointer data)
{
    GhCreateWindow *self = data;
    const char *path = gtk_editable_get_text (GTK_EDITABLE (self->medium));
    GhEngine1 *engine = gh_connection_get_engine (self->connection);

    self->identify_timer = 0;
    if (self->identify)
        g_cancellable_cancel (self->identify);
    g_clear_object (&self->identify);
    self->refused = FALSE;
    show_trouble (self, NULL);
    if (path[0] && engine) {
        self->identify = g_cancellable_new ();
        gh_engine1_call_identify_medium (engine, path, self->identify, on_identified, g_object_ref (self));
    } else if (!path[0]) {
        adw_action_row_set_subtitle (ADW_ACTION_ROW (self->system), NULL);
        fill_systems (self, NULL);
        propose_name (self, _ ("New machine"));
    }
    refresh (self);
    return G_SOURCE_REMOVE;
}

static void on_medium_changed (GhCreateWindow *self)
{
    g_clear_handle_id (&self->identify_timer, g_source_remove);
    if (self->page != MEDIUM)
        go (self, MEDIUM);
    self->identify_timer = g_timeout_add (IDENTIFY_AFTER_MS, identify_now, self);
    refresh (self);
}

static void on_name_changed (GhCreateWindow *self)
{
    if (!self->filling)
        self->name_edited = TRUE;
    refresh (self);
}

static void on_chosen (GtkNativeDialog *dialog, int response, GhCreateWindow *self)
{
    if (response == GTK_RESPONSE_ACCEPT) {
        g_autoptr (GFile) file = gtk_file_chooser_get_file (GTK_FILE_CHOOSER (dialog));
        g_autofree char *path = g_file_get_path (file);
        if (path)
            gtk_editable_set_text (GTK_EDITABLE (self->medium), path);
    }
    g_object_unref (dialog);
}

static void on_browse (GhCreateWindow *self)
{
    GtkFileChooserNative *chooser = gtk_file_chooser_native_new (_ ("Choose a CD Image"), GTK_WINDOW (self), GTK_FILE_CHOOSER_ACTION_OPEN,
                                                                 NULL, NULL);
    g_autoptr (GtkFileFilter) images = gtk_file_filter_new (), all = gtk_file_filter_new ();

    gtk_file_filter_set_name (images, _ ("CD images"));
    gtk_file_filter_add_suffix (images, "iso");
    gtk_file_filter_set_name (all, _ ("All files"));
    gtk_file_filter_add_pattern (all, "*");
    gtk_file_chooser_add_filter (GTK_FILE_CHOOSER (chooser), images);
    gtk_file_chooser_add_filter (GTK_FILE_CHOOSER (chooser), all);
    g_signal_connect_object (chooser, "response", G_CALLBACK (on_chosen), self, 0);
    gtk_native_dialog_show (GTK_NATIVE_DIALOG (chooser));
}

static void on_found_chosen (AdwActionRow *row, GhCreateWindow *self)
{
    gtk_editable_set_text (GTK_EDITABLE (self->medium), g_object_get_data (G_OBJECT (row), "path"));
    gtk_widget_grab_focus (GTK_WIDGET (self->medium));
}

static void on_found (GPtrArray *paths, gpointer data)
{
    GhCreateWindow *self = data;

    for (guint i = 0; i < paths->len; i++) {
        const char *path = g_ptr_array_index (paths, i);
        g_autofree char *base = g_path_get_basename (path);
        GtkWidget *row = adw_action_row_new ();
        adw_preferences_row_set_use_markup (ADW_PREFERENCES_ROW (row), FALSE);
        adw_preferences_row_set_title (ADW_PREFERENCES_ROW (row), base);
        adw_action_row_set_icon_name (ADW_ACTION_ROW (row), "media-optical-symbolic");
        gtk_list_box_row_set_activatable (GTK_LIST_BOX_ROW (row), TRUE);
        g_object_set_data_full (G_OBJECT (row), "path", g_strdup (path), g_free);
        g_signal_connect (row, "activated", G_CALLBACK (on_found_chosen), self);
        adw_preferences_group_add (self->found, row);
    }
    gtk_widget_set_visible (GTK_WIDGET (self->found), paths->len > 0);
}

static gboolean on_drop (GtkDropTarget *target, const GValue *value, double x, double y, GhCreateWindow *self)
{
    g_autofree char *path = g_file_get_path (g_value_get_object (value));

    if (path)
        gtk_editable_set_text (GTK_EDITABLE (self->medium), path);
    return path != NULL;
}

static void on_created (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr (GhCreateWindow) self = data;
    g_autofree char *path = NULL;
    g_autoptr (GError) error = NULL;

    gh_engine1_call_create_machine_finish (GH_ENGINE1 (source), &path, result, &error);
    if (!self->connection)
        return;
    self->busy = FALSE;
    show_trouble (self, error);
    refresh (self);
    if (error)
        return;
    g_action_group_activate_action (G_ACTION_GROUP (g_application_get_default ()), "machine-created",
                                    g_variant_new ("(sb)", path, gtk_switch_get_active (self->start)));
    gtk_window_destroy (GTK_WINDOW (self));
}

static void on_create (GhCreateWindow *self)
{
    GhEngine1 *engine = gh_connection_get_engine (self->connection);
    const char *medium = text_of (self->medium);
    GVariantDict settings;

    if (!engine || self->busy)
        return;
    g_variant_dict_init (&settings, NULL);
    g_variant_dict_insert (&settings, "memory-bytes", "t", (guint64) gtk_spin_button_get_value_as_int (self->memory) << 20);
    g_variant_dict_insert (&settings, "cpus", "u", (guint32) gtk_spin_button_get_value_as_int (self->cpus));
    g_variant_dict_insert (&settings, "disk-bytes", "t", (guint64) gtk_spin_button_get_value_as_int (self->disk) << 30);
    if (medium[0])
        g_variant_dict_insert (&settings, "media", "s", medium);
    g_variant_dict_insert (&settings, "os-id", "s", system_id (self));
    self->busy = TRUE;
    show_trouble (self, NULL);
    refresh (self);
    gh_engine1_call_create_machine (engine, text_of (self->name), g_variant_dict_end (&settings), NULL,
                                    on_created, g_object_ref (self));
}

GtkWidget *gh_create_window_new (GtkWindow *parent, GhConnection *connection, const char *medium, gboolean at_once)
{
    GhCreateWindow *self = g_object_new (GH_TYPE_CREATE_WINDOW, "transient-for", parent, NULL);

    self->connection = g_object_ref (connection);
    self->at_once = at_once;
    gh_fit_screen (GTK_WINDOW (self));
    fill_systems (self, NULL);
    if (medium)
        gtk_editable_set_text (GTK_EDITABLE (self->medium), medium);
    g_clear_handle_id (&self->identify_timer, g_source_remove);
    identify_now (self);
    on_system (self);
    return GTK_WIDGET (self);
}

static void gh_create_window_dispose (GObject *object)
{
    GhCreateWindow *self = GH_CREATE_WINDOW (object);

    g_clear_handle_id (&self->identify_timer, g_source_remove);
    if (self->identify)
        g_cancellable_cancel (self->identify);
    g_clear_object (&self->identify);
    g_cancellable_cancel (self->search);
    g_clear_object (&self->search);
    g_clear_pointer (&self->review_rows, g_ptr_array_unref);
    g_clear_object (&self->connection);
    g_clear_pointer (&self->system_ids, g_ptr_array_unref);
    G_OBJECT_CLASS (gh_create_window_parent_class)->dispose (object);
}

static void gh_create_window_class_init (GhCreateWindowClass *klass)
{
    GtkWidgetClass *widget = GTK_WIDGET_CLASS (klass);

    G_OBJECT_CLASS (klass)->dispose = gh_create_window_dispose;
    gtk_widget_class_set_template_from_resource (widget, "/org/gasthaus/Gasthaus/wizard/gh-create-window.ui");
#define CHILD(name) gtk_widget_class_bind_template_child (widget, GhCreateWindow, name)
    CHILD (back);
    CHILD (next);
    CHILD (title);
    CHILD (pages);
    CHILD (found);
    CHILD (review);
    CHILD (command);
    CHILD (browse);
    CHILD (spinner);
    CHILD (memory_row);
    CHILD (cpus_row);
    CHILD (disk_row);
    CHILD (trouble);
    CHILD (trouble_text);
    CHILD (medium);
    CHILD (name);
    CHILD (system);
    CHILD (memory);
    CHILD (cpus);
    CHILD (disk);
    CHILD (start);
#undef CHILD
    gtk_widget_class_add_binding_action (widget, GDK_KEY_Escape, 0, "window.close", NULL);
}

static void gh_create_window_init (GhCreateWindow *self)
{
    GtkDropTarget *drop = gtk_drop_target_new (G_TYPE_FILE, GDK_ACTION_COPY);

    gtk_widget_init_template (GTK_WIDGET (self));
    self->system_ids = g_ptr_array_new_with_free_func (g_free);
    self->review_rows = g_ptr_array_new ();
    self->search = g_cancellable_new ();
    gtk_spin_button_set_value (self->memory, 2048);
    gtk_spin_button_set_value (self->cpus, 1);
    gtk_spin_button_set_value (self->disk, 25);
    g_signal_connect (drop, "drop", G_CALLBACK (on_drop), self);
    gtk_widget_add_controller (GTK_WIDGET (self), GTK_EVENT_CONTROLLER (drop));
    g_signal_connect_swapped (self->next, "clicked", G_CALLBACK (on_next), self);
    g_signal_connect_swapped (self->back, "clicked", G_CALLBACK (on_back), self);
    gh_found_media (self->search, on_found, self);
    go (self, MEDIUM);
    g_signal_connect_swapped (self->browse, "clicked", G_CALLBACK (on_browse), self);
    g_signal_connect_swapped (self->medium, "changed", G_CALLBACK (on_medium_changed), self);
    g_signal_connect_swapped (self->name, "changed", G_CALLBACK (on_name_changed), self);
    g_signal_connect_swapped (self->system, "notify::selected", G_CALLBACK (on_system), self);
}
