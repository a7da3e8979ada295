/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gui/details/gh-log-window.h"

#include <glib/gi18n.h>

#include "gui/gh-util.h"

static void show_found (GtkTextView *view, GtkTextIter *start, GtkTextIter *end)
{
    gtk_text_buffer_select_range (gtk_text_view_get_buffer (view), start, end);
    gtk_text_view_scroll_to_iter (view, start, 0.1, FALSE, 0, 0);
}

/* From the cursor on, and from the beginning again. */
static void search (GtkSearchEntry *entry, GtkTextView *view)
{
    GtkTextBuffer *buffer = gtk_text_view_get_buffer (view);
    const char *text = gtk_editable_get_text (GTK_EDITABLE (entry));
    GtkTextIter from, start, end;

    gtk_text_buffer_get_selection_bounds (buffer, NULL, &from);
    if (!text[0])
        return;
    if (!gtk_text_iter_forward_search (&from, text, GTK_TEXT_SEARCH_CASE_INSENSITIVE, &start, &end, NULL)) {
        gtk_text_buffer_get_start_iter (buffer, &from);
        if (!gtk_text_iter_forward_search (&from, text, GTK_TEXT_SEARCH_CASE_INSENSITIVE, &start, &end, NULL)) {
            gtk_widget_add_css_class (GTK_WIDGET (entry), "error");
            return;
        }
    }
    gtk_widget_remove_css_class (GTK_WIDGET (entry), "error");
    show_found (view, &start, &end);
}

static void on_changed (GtkSearchEntry *entry, GtkTextView *view)
{
    GtkTextBuffer *buffer = gtk_text_view_get_buffer (view);
    GtkTextIter start;

    gtk_text_buffer_get_start_iter (buffer, &start);
    gtk_text_buffer_place_cursor (buffer, &start);
    gtk_widget_remove_css_class (GTK_WIDGET (entry), "error");
    search (entry, view);
}

static void on_log (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr (GtkTextView) view = data;
    g_autoptr (GError) error = NULL;
    g_autofree char *text = NULL;

    if (!gh_engine1_machine_call_log_finish (GH_ENGINE1_MACHINE (source), &text, result, &error))
        text = gh_error_message (error);
    gtk_text_buffer_set_text (gtk_text_view_get_buffer (view), text[0] ? text : _ ("Nothing yet: the machine was not started."), -1);
}

GtkWidget *gh_log_window_new (GtkWindow *parent, GhMachine *machine)
{
    g_autofree char *title = g_strdup_printf (_ ("Log of “%s”"), gh_machine_get_name (machine));
    GtkWidget *window = g_object_new (ADW_TYPE_WINDOW, "transient-for", parent, "modal", TRUE, "title", title, "default-width", 820,
                                      "default-height", 560, NULL);
    GtkWidget *box = gtk_box_new (GTK_ORIENTATION_VERTICAL, 0), *bar = adw_header_bar_new (), *view = gtk_text_view_new ();
    GtkWidget *scroller = gtk_scrolled_window_new (), *entry = gtk_search_entry_new ();

    gtk_text_view_set_monospace (GTK_TEXT_VIEW (view), TRUE);
    gtk_text_view_set_editable (GTK_TEXT_VIEW (view), FALSE);
    gtk_text_view_set_wrap_mode (GTK_TEXT_VIEW (view), GTK_WRAP_WORD_CHAR);
    gtk_text_view_set_left_margin (GTK_TEXT_VIEW (view), 12);
    gtk_text_view_set_right_margin (GTK_TEXT_VIEW (view), 12);
    gtk_text_view_set_top_margin (GTK_TEXT_VIEW (view), 12);
    gh_set_label (view, title);
    gh_set_label (entry, _ ("Search the Log"));
    gtk_widget_set_tooltip_text (entry, _ ("Search the Log"));
    gtk_scrolled_window_set_child (GTK_SCROLLED_WINDOW (scroller), view);
    gtk_widget_set_vexpand (scroller, TRUE);
    adw_header_bar_pack_start (ADW_HEADER_BAR (bar), entry);
    gtk_box_append (GTK_BOX (box), bar);
    gtk_box_append (GTK_BOX (box), scroller);
    adw_window_set_content (ADW_WINDOW (window), box);
    g_signal_connect (entry, "search-changed", G_CALLBACK (on_changed), view);
    g_signal_connect (entry, "activate", G_CALLBACK (search), view);
    g_signal_connect_swapped (entry, "stop-search", G_CALLBACK (gtk_window_close), window);
    gh_close_on_escape (window);
    gh_fit_screen (GTK_WINDOW (window));
    gh_engine1_machine_call_log (gh_machine_get_proxy (machine), NULL, on_log, g_object_ref (view));
    return window;
}
