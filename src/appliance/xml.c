/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "appliance/xml.h"

#include <errno.h>
#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/appliance.h"

struct watch { bool dtd, deep; int depth; startElementNsSAX2Func start; endElementNsSAX2Func end; };

static void on_dtd(void *ctx, const xmlChar *name, const xmlChar *external, const xmlChar *system)
{
    xmlParserCtxtPtr c = ctx;

    ((struct watch *)c->_private)->dtd = true;
    xmlStopParser(c);
}

static void on_start(void *ctx, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri, int namespaces, const xmlChar **ns,
                     int attributes, int defaulted, const xmlChar **values)
{
    xmlParserCtxtPtr c = ctx;
    struct watch *w = c->_private;

    if (++w->depth > GH_XML_DEPTH_MAX) {
        w->deep = true;
        xmlStopParser(c);
        return;
    }
    w->start(ctx, name, prefix, uri, namespaces, ns, attributes, defaulted, values);
}

static void on_end(void *ctx, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri)
{
    struct watch *w = ((xmlParserCtxtPtr)ctx)->_private;

    w->depth--;
    w->end(ctx, name, prefix, uri);
}

static void quiet(void *ctx, xmlErrorPtr e) { }

xmlDocPtr gh_xml_parse(const char *text, size_t len, const char *label, struct gh_error *err)
{
    if (len > GH_XML_BYTES_MAX) {
        gh_error_set(err, -E2BIG, "XmlRefused", "The description in “%s” has %zu bytes; more than %d are refused.", label, len, GH_XML_BYTES_MAX);
        return NULL;
    }
    xmlParserCtxtPtr c = xmlCreateMemoryParserCtxt(text, (int)len);
    struct watch w = { 0 };
    if (!c) {
        gh_error_set(err, -EINVAL, "XmlInvalid", "The description in “%s” is empty or cannot be read.", label);
        return NULL;
    }
    xmlCtxtUseOptions(c, XML_PARSE_NONET | XML_PARSE_NOBLANKS | XML_PARSE_NOCDATA);
    c->_private = &w;
    w.start = c->sax->startElementNs;
    w.end = c->sax->endElementNs;
    c->sax->startElementNs = on_start;
    c->sax->endElementNs = on_end;
    c->sax->internalSubset = on_dtd;
    c->sax->externalSubset = on_dtd;
    c->sax->serror = quiet;
    xmlParseDocument(c);
    xmlDocPtr doc = c->myDoc;
    char why[160] = "";
    gh_appliance_text(why, sizeof why, c->lastError.message);
    int line = c->lastError.line;
    bool good = c->wellFormed && !w.dtd && !w.deep && doc && xmlDocGetRootElement(doc);
    xmlFreeParserCtxt(c);
    if (good)
        return doc;
    xmlFreeDoc(doc);
    if (w.dtd)
        gh_error_set(err, -EPERM, "XmlRefused", "The description in “%s” has a document type, which is refused: it could read other files.", label);
    else if (w.deep)
        gh_error_set(err, -EPERM, "XmlRefused", "The description in “%s” is nested more than %d deep, which is refused.", label, GH_XML_DEPTH_MAX);
    else
        gh_error_set(err, -EINVAL, "XmlInvalid", "The description in “%s” is damaged in line %d: %s", label, line, why[0] ? why : "it is not XML");
    return NULL;
}

bool gh_xml_is(const xmlNode *node, const char *name)
{ return node && node->type == XML_ELEMENT_NODE && !strcmp((const char *)node->name, name); }

static xmlNodePtr from(xmlNodePtr n, const char *name)
{
    while (n && !gh_xml_is(n, name))
        n = n->next;
    return n;
}

xmlNodePtr gh_xml_child(const xmlNode *node, const char *name) { return node ? from(node->children, name) : NULL; }
xmlNodePtr gh_xml_next(const xmlNode *node, const char *name) { return node ? from(node->next, name) : NULL; }

xmlNodePtr gh_xml_path(xmlNodePtr node, const char *a, const char *b)
{
    node = gh_xml_child(node, a);
    return b ? gh_xml_child(node, b) : node;
}

void gh_xml_attr(const xmlNode *node, const char *name, char *out, size_t size)
{
    out[0] = 0;
    for (xmlAttrPtr a = node ? node->properties : NULL; a; a = a->next) {
        if (strcmp((const char *)a->name, name))
            continue;
        xmlChar *v = xmlNodeListGetString(node->doc, a->children, 1);
        gh_appliance_text(out, size, (const char *)v);
        xmlFree(v);
        return;
    }
}

char *gh_xml_text_new(const xmlNode *node)
{
    xmlChar *v = node ? xmlNodeGetContent(node) : NULL;
    char *out = v ? strdup((const char *)v) : NULL;

    xmlFree(v);
    return out;
}

void gh_xml_text(const xmlNode *node, char *out, size_t size)
{
    char *v = gh_xml_text_new(node);

    gh_appliance_text(out, size, v);
    free(v);
}

void gh_xml_child_text(const xmlNode *node, const char *name, char *out, size_t size) { gh_xml_text(gh_xml_child(node, name), out, size); }
