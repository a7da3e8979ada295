/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/media/gh-media-window.h"

#include <glib/gi18n.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "gui/gh-util.h"
#include "gui/media/gh-media-page.h"

static void page_free (gpointer data)
{
    struct gh_media_page *p = data;

    g_cancellable_cancel (p->cancel);
    g_object_unref (p->cancel);
    g_object_unref (p->connection);
    g_free (p->expanded);
    g_free (p->shown);
    g_free (p);
}

/* ---- The list --------------------------------------------------------------------------------------------------- */
static GtkAdjustment *scroll_of (GtkWidget *widget)
{
    GtkAdjustment *found = GTK_IS_SCROLLED_WINDOW (widget) ? gtk_scrolled_window_get_vadjustment (GTK_SCROLLED_WINDOW (widget)) : NULL;

    for (GtkWidget *c = gtk_widget_get_first_child (widget); c && !found; c = gtk_widget_get_next_sibling (c))
        found = scroll_of (c);
    return found;
}

/* Where the old list stood, as soon as the new one is long enough. */
static gboolean on_frame (GtkWidget *content, GdkFrameClock *clock, gpointer data)
{
    double *goal = data;
    GtkAdjustment *scroll = scroll_of (content);

    if (!scroll || goal[1]++ > 30)
        return G_SOURCE_REMOVE;
    gtk_adjustment_set_value (scroll, goal[0]);
    return gtk_adjustment_get_value (scroll) < goal[0] - 1;
}

static int by_name (const void *a, const void *b) { return gh_media_compare (*(json_t *const *) a, *(json_t *const *) b); }

static GtkWidget *make_list (struct gh_media_page *p, json_t **media, size_t count)
{
    static const struct { const char *title; gboolean orphan, disk; } groups[] = {
        { N_ ("Disks"), FALSE, TRUE }, { N_ ("Used by No Machine"), TRUE, TRUE }, { N_ ("CD and Floppy Images"), FALSE, FALSE },
    };
    GtkWidget *page = adw_preferences_page_new ();

    for (guint g = 0; g < G_N_ELEMENTS (groups); g++) {
        GtkWidget *group = NULL;
        for (size_t i = 0; i < count; i++) {
            gboolean disk = !g_strcmp0 (json_string_value (json_object_get (media[i], "kind")), "disk"), orphan = json_is_true (json_object_get (media[i], "orphan"));
            if (orphan != groups[g].orphan || (!orphan && disk != groups[g].disk))
                continue;
            if (!group) {
                group = adw_preferences_group_new ();
                adw_preferences_group_set_title (ADW_PREFERENCES_GROUP (group), _ (groups[g].title));
                adw_preferences_page_add (ADW_PREFERENCES_PAGE (page), ADW_PREFERENCES_GROUP (group));
            }
            adw_preferences_group_add (ADW_PREFERENCES_GROUP (group), gh_media_row_new (p, media[i]));
        }
    }
    return page;
}

static void show_list (struct gh_media_page *p, json_t *list)
{
    GtkAdjustment *scroll = p->content ? scroll_of (p->content) : NULL;
    GtkWidget *focus = gtk_window_get_focus (GTK_WINDOW (p->window));
    gboolean had_focus = focus && p->content && gtk_widget_is_ancestor (focus, p->content);
    double *goal = g_new0 (double, 2);
    json_t **media = g_new0 (json_t *, json_array_size (list) + 1), *m;
    size_t i, count = 0;

    json_array_foreach (list, i, m)
        if (json_is_string (json_object_get (m, "path")))
            media[count++] = m;
    qsort (media, count, sizeof *media, by_name);
    goal[0] = scroll ? gtk_adjustment_get_value (scroll) : 0;
    if (p->content)
        gtk_stack_remove (GTK_STACK (p->stack), p->content);
    p->content = make_list (p, media, count);
    gtk_stack_add_named (GTK_STACK (p->stack), p->content, "list");
    gtk_stack_set_visible_child_name (GTK_STACK (p->stack), count ? "list" : "empty");
    if (had_focus) /* the keyboard goes on in the list */
        gtk_widget_child_focus (p->content, GTK_DIR_TAB_FORWARD);
    gtk_widget_add_tick_callback (p->content, on_frame, goal, g_free);
    g_free (media);
}

static void on_list (GObject *source, GAsyncResult *result, gpointer data)
{
    struct gh_media_page *p = data;
    g_autofree char *text = NULL;
    g_autoptr (GError) error = NULL;
    json_t *list = NULL;

    if (gh_engine1_call_list_media_finish (GH_ENGINE1 (source), &text, result, &error))
        list = json_loads (text, 0, NULL);
    if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
        return; /* the window is gone */
    p->asking = FALSE;
    if (p->again)
        gh_media_page_load (p);
    if (json_is_array (list) && g_strcmp0 (text, p->shown)) {
        show_list (p, list);
        g_free (p->shown);
        p->shown = g_steal_pointer (&text);
    } else if (error) {
        g_autofree char *message = gh_error_message (error);
        gh_media_say (p, message);
    }
    json_decref (list);
}

void gh_media_page_load (struct gh_media_page *p)
{
    GhEngine1 *engine = gh_connection_get_engine (p->connection);

    p->again = p->asking; /* one question at a time: answers overtake each other, and an older one must not stay */
    if (!engine || p->asking)
        return;
    p->asking = TRUE;
    gh_engine1_call_list_media (engine, p->cancel, on_list, p);
}

/* ---- The window --------------------------------------------------------------------------------------------------- */
/* Somebody else may have changed something meanwhile: another program, a job of the main window. */
static void on_active (GtkWindow *window, GParamSpec *spec, struct gh_media_page *p)
{
    if (gtk_window_is_active (window))
        gh_media_page_load (p);
}

static void on_machines (GtkWidget *window)
{ gh_media_page_load (g_object_get_data (G_OBJECT (window), "page")); }

static GtkWidget *make_empty (struct gh_media_page *p)
{
    GtkWidget *empty = adw_status_page_new (), *new = gtk_button_new_with_mnemonic (_ ("_New Disk…"));

    adw_status_page_set_title (ADW_STATUS_PAGE (empty), _ ("No Disks Yet"));
    adw_status_page_set_icon_name (ADW_STATUS_PAGE (empty), "drive-harddisk-symbolic");
    gtk_widget_set_halign (new, GTK_ALIGN_CENTER);
    gtk_widget_add_css_class (new, "pill");
    g_signal_connect_swapped (new, "clicked", G_CALLBACK (gh_media_ask_new), p);
    adw_status_page_set_child (ADW_STATUS_PAGE (empty), new);
    return empty;
}

static GtkWidget *make_header (struct gh_media_page *p)
{
    GtkWidget *bar = adw_header_bar_new (), *new = gtk_button_new_from_icon_name ("list-add-symbolic");

    gtk_widget_set_tooltip_text (new, _ ("New Disk"));
    gh_set_label (new, _ ("New Disk"));
    g_signal_connect_swapped (new, "clicked", G_CALLBACK (gh_media_ask_new), p);
    adw_header_bar_pack_start (ADW_HEADER_BAR (bar), new);
    return bar;
}

GtkWidget *gh_media_window_new (GtkWindow *parent, GhConnection *connection)
{
    struct gh_media_page *p = g_new0 (struct gh_media_page, 1);
    GtkWidget *box = gtk_box_new (GTK_ORIENTATION_VERTICAL, 0), *spinner = gtk_spinner_new ();

    p->window = g_object_new (ADW_TYPE_WINDOW, "transient-for", parent, "destroy-with-parent", TRUE, "title", _ ("Disks and Media"), "default-width", 680, "default-height", 640, NULL);
    p->connection = g_object_ref (connection);
    p->cancel = g_cancellable_new ();
    p->toasts = adw_toast_overlay_new ();
    p->stack = gtk_stack_new ();
    p->works = gtk_box_new (GTK_ORIENTATION_VERTICAL, 0);
    gh_set_label (p->works, _ ("Work in Progress"));
    gtk_widget_set_vexpand (p->stack, TRUE);
    gtk_spinner_start (GTK_SPINNER (spinner));
    gtk_widget_set_halign (spinner, GTK_ALIGN_CENTER);
    gtk_widget_set_size_request (spinner, 32, -1);
    gh_set_label (spinner, _ ("Looking into the disks"));
    gtk_stack_add_named (GTK_STACK (p->stack), spinner, "waiting");
    gtk_stack_add_named (GTK_STACK (p->stack), make_empty (p), "empty");
    gtk_box_append (GTK_BOX (box), make_header (p));
    gtk_box_append (GTK_BOX (box), p->works);
    gtk_box_append (GTK_BOX (box), p->stack);
    adw_toast_overlay_set_child (ADW_TOAST_OVERLAY (p->toasts), box);
    adw_window_set_content (ADW_WINDOW (p->window), p->toasts);
    gh_close_on_escape (p->window);
    gh_fit_screen (GTK_WINDOW (p->window));
    g_object_set_data_full (G_OBJECT (p->window), "page", p, page_free);
    g_signal_connect (p->window, "notify::is-active", G_CALLBACK (on_active), p);
    g_signal_connect_object (gh_connection_get_machines (connection), "items-changed", G_CALLBACK (on_machines), p->window, G_CONNECT_SWAPPED);
    gh_media_page_load (p);
    return p->window;
}
