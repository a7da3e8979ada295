#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A window from which the file that is named can be dragged, as from a file manager."""
import sys

import gi

gi.require_version("Gtk", "4.0")
from gi.repository import Gdk, Gio, GLib, Gtk


def activate(app):
    window = Gtk.ApplicationWindow(application=app, title="Dragger", default_width=200, default_height=120)
    label = Gtk.Label(label="Drag me", hexpand=True, vexpand=True)
    source = Gtk.DragSource(actions=Gdk.DragAction.COPY)
    uri = Gio.File.new_for_path(sys.argv[1]).get_uri() + "\r\n"
    source.connect("prepare", lambda *unused: Gdk.ContentProvider.new_for_bytes("text/uri-list", GLib.Bytes.new(uri.encode())))
    label.add_controller(source)
    window.set_child(label)
    window.present()


app = Gtk.Application(application_id="org.gasthaus.Dragger")
app.connect("activate", activate)
app.run([])
