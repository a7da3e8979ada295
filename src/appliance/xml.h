/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Foreign XML, by libxml2: no network, no document type, hence no entities, bounded size and depth.
 * Elements and attributes are found by local name, in whatever namespace a dialect puts them.
 */
#pragma once
#include <libxml/tree.h>

#include "base/error.h"

enum { GH_XML_BYTES_MAX = 4 << 20, GH_XML_DEPTH_MAX = 64 };

/* NULL after XmlInvalid or XmlRefused. */
xmlDocPtr gh_xml_parse(const char *text, size_t len, const char *label, struct gh_error *err);
bool gh_xml_is(const xmlNode *node, const char *name);
/* The first element called name among children, or after node among its siblings; NULL: none. */
xmlNodePtr gh_xml_child(const xmlNode *node, const char *name);
xmlNodePtr gh_xml_next(const xmlNode *node, const char *name);
xmlNodePtr gh_xml_path(xmlNodePtr node, const char *a, const char *b);   /* b may be NULL */
/* Empty when there is none. */
void gh_xml_attr(const xmlNode *node, const char *name, char *out, size_t size);
void gh_xml_text(const xmlNode *node, char *out, size_t size);              /* of node; NULL: empty */
void gh_xml_child_text(const xmlNode *node, const char *name, char *out, size_t size);
char *gh_xml_text_new(const xmlNode *node);                                 /* whole; free it; may be NULL */
