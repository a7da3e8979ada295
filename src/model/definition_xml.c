/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * machine.xml in and out, by libxml2: no network, no DTD, no entities, bounded size. What is read
 * must fit the RELAX NG schema, which is compiled in from data/schema/machine.rng.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libxml/parser.h>
#include <libxml/relaxng.h>
#include <libxml/xmlwriter.h>

#include "model/definition.h"
#include "model/machine-schema.h"

enum { DEFINITION_BYTES_MAX = 1 << 20 };

/* Keeps the first message, with its line, for the sentence. */
struct complaint { char text[300]; int line; };

static void note_error(void *opaque, xmlErrorPtr e)
{
    struct complaint *c = opaque;

    if (c->text[0] || !e || !e->message)
        return;
    snprintf(c->text, sizeof c->text, "%s", e->message);
    c->text[strcspn(c->text, "\n")] = 0;
    c->line = e->line;
}

static int validate(xmlDocPtr doc, struct complaint *c)
{
    xmlRelaxNGParserCtxtPtr parser = xmlRelaxNGNewMemParserCtxt(gh_machine_schema, (int)strlen(gh_machine_schema));
    xmlRelaxNGPtr schema = parser ? xmlRelaxNGParse(parser) : NULL;
    xmlRelaxNGValidCtxtPtr ctx = schema ? xmlRelaxNGNewValidCtxt(schema) : NULL;
    int r = -1;

    if (ctx) {
        xmlRelaxNGSetValidStructuredErrors(ctx, (xmlStructuredErrorFunc)note_error, c);
        r = xmlRelaxNGValidateDoc(ctx, doc);
    }
    xmlRelaxNGFreeValidCtxt(ctx);
    xmlRelaxNGFree(schema);
    xmlRelaxNGFreeParserCtxt(parser);
    return r;
}

static void copy_text(char *out, size_t size, xmlChar *text)
{
    snprintf(out, size, "%s", text ? (const char *)text : "");
    xmlFree(text);
}

static void attribute(xmlNodePtr node, const char *name, char *out, size_t size)
{
    xmlChar *v = xmlGetNoNsProp(node, (const xmlChar *)name);

    if (v)
        copy_text(out, size, v);
}

static uint64_t attribute_number(xmlNodePtr node, const char *name, uint64_t fallback)
{
    char text[32] = "";

    attribute(node, name, text, sizeof text);
    return text[0] ? strtoull(text, NULL, 10) : fallback;
}

static bool is(xmlNodePtr node, const char *name)
{ return node->type == XML_ELEMENT_NODE && !strcmp((const char *)node->name, name); }

static void read_text(xmlNodePtr node, char *out, size_t size) { copy_text(out, size, xmlNodeGetContent(node)); }

static int read_medium(struct gh_definition *d, xmlNodePtr node, enum gh_medium_kind kind, struct gh_error *err)
{
    char bus[16] = "ide", format[12] = "raw", file[4096] = "";

    if (kind == GH_MEDIUM_FLOPPY)
        strcpy(bus, "fdc");
    attribute(node, "bus", bus, sizeof bus);
    attribute(node, "format", format, sizeof format);
    attribute(node, "file", file, sizeof file);
    int r = gh_definition_add_medium(d, kind, bus, format, file[0] ? file : NULL, err);
    if (r)
        return r;
    struct gh_medium *m = &d->medium[d->medium_count - 1];
    char discard[8] = "on";
    attribute(node, "mode", m->mode, sizeof m->mode);
    attribute(node, "cache", m->cache, sizeof m->cache);
    attribute(node, "discard", discard, sizeof discard);
    m->keep_space = !strcmp(discard, "off");
    m->limit_bytes = attribute_number(node, "limit-bytes", 0);
    m->limit_ops = (uint32_t)attribute_number(node, "limit-ops", 0);
    return 0;
}

static int read_network(struct gh_definition *d, xmlNodePtr node, struct gh_error *err)
{
    struct gh_network *n = gh_definition_add_network(d, "e1000", "nat", err);
    char connected[8] = "yes", loopback[8] = "no", ipv6[8] = "yes";

    if (!n)
        return -ENOSPC;
    attribute(node, "adapter", n->adapter, sizeof n->adapter);
    attribute(node, "mode", n->mode, sizeof n->mode);
    attribute(node, "network", n->name, sizeof n->name);
    attribute(node, "mac", n->mac, sizeof n->mac);
    attribute(node, "connected", connected, sizeof connected);
    n->connected = !strcmp(connected, "yes");
    attribute(node, "socket", n->socket, sizeof n->socket);
    attribute(node, "host-loopback", loopback, sizeof loopback);
    n->host_loopback = !strcmp(loopback, "yes");
    attribute(node, "ipv6", ipv6, sizeof ipv6);
    n->no_ipv6 = !strcmp(ipv6, "no");
    attribute(node, "subnet", n->subnet, sizeof n->subnet);
    attribute(node, "tftp", n->tftp, sizeof n->tftp);
    attribute(node, "bootfile", n->bootfile, sizeof n->bootfile);
    n->limit_kbits = (uint32_t)attribute_number(node, "limit-kbits", 0);
    for (xmlNodePtr c = node->children; c; c = c->next) {
        if (!is(c, "forward") || n->forward_count == GH_FORWARDS_MAX)
            continue;
        struct gh_forward *f = &n->forward[n->forward_count++];
        strcpy(f->protocol, "tcp");
        strcpy(f->host_address, "127.0.0.1");
        attribute(c, "protocol", f->protocol, sizeof f->protocol);
        attribute(c, "address", f->host_address, sizeof f->host_address);
        f->host_port = (uint16_t)attribute_number(c, "host-port", 0);
        f->guest_port = (uint16_t)attribute_number(c, "guest-port", 0);
    }
    return 0;
}

static int read_devices(struct gh_definition *d, xmlNodePtr devices, struct gh_error *err)
{
    int r = 0;

    for (xmlNodePtr n = devices->children; n && !r; n = n->next) {
        if (is(n, "disk"))
            r = read_medium(d, n, GH_MEDIUM_DISK, err);
        else if (is(n, "cdrom"))
            r = read_medium(d, n, GH_MEDIUM_CDROM, err);
        else if (is(n, "floppy"))
            r = read_medium(d, n, GH_MEDIUM_FLOPPY, err);
        else if (is(n, "network"))
            r = read_network(d, n, err);
    }
    return r;
}

static int read_machine(struct gh_definition *d, xmlNodePtr root, struct gh_error *err)
{
    int r = 0;

    attribute(root, "uuid", d->uuid, sizeof d->uuid);
    d->revision = attribute_number(root, "revision", 1);
    d->created = (int64_t)attribute_number(root, "created", 0);
    d->last_started = (int64_t)attribute_number(root, "last-started", 0);
    for (xmlNodePtr n = root->children; n && !r; n = n->next) {
        if (is(n, "name"))
            read_text(n, d->name, sizeof d->name);
        else if (is(n, "description")) {
            xmlChar *t = xmlNodeGetContent(n);
            d->description = t ? strdup((char *)t) : NULL;
            xmlFree(t);
        } else if (is(n, "os"))
            attribute(n, "id", d->os_id, sizeof d->os_id);
        else if (is(n, "memory"))
            d->memory_bytes = attribute_number(n, "mib", 0) << 20;
        else if (is(n, "cpu")) {
            d->cpus = (uint32_t)attribute_number(n, "count", 1);
            attribute(n, "model", d->cpu_model, sizeof d->cpu_model);
        } else if (is(n, "accelerator"))
            read_text(n, d->accelerator, sizeof d->accelerator);
        else if (is(n, "board")) {
            read_text(n, d->board, sizeof d->board);
        } else if (is(n, "firmware")) {
            read_text(n, d->firmware, sizeof d->firmware);
        } else if (is(n, "boot"))
            attribute(n, "order", d->boot_order, sizeof d->boot_order);
        else if (is(n, "clock"))
            attribute(n, "base", d->clock_base, sizeof d->clock_base);
        else if (is(n, "pointer"))
            read_text(n, d->pointer, sizeof d->pointer);
        else if (is(n, "video"))
            d->video_mib = (uint32_t)attribute_number(n, "mib", 16);
        else if (is(n, "devices"))
            r = read_devices(d, n, err);
    }
    return r ? r : gh_definition_check(d, err);
}

int gh_definition_parse(const char *text, size_t length, const char *label, struct gh_definition **ret, struct gh_error *err)
{
    struct complaint complaint = { .text = "" };

    if (length > DEFINITION_BYTES_MAX)
        return gh_error_set(err, -E2BIG, "DefinitionBroken", "“%s” has %zu bytes; a machine's definition never has more than 1 MiB.", label, length);
    xmlParserCtxtPtr ctx = xmlNewParserCtxt();
    if (!ctx)
        return gh_error_set(err, -ENOMEM, "NoMemory", "The host has no memory left.");
    xmlSetStructuredErrorFunc(&complaint, (xmlStructuredErrorFunc)note_error);
    xmlDocPtr doc = xmlCtxtReadMemory(ctx, text, (int)length, NULL, NULL, XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    int r = 0;
    struct gh_definition *d = NULL;

    if (!doc || doc->intSubset) {
        r = gh_error_set(err, -EINVAL, "DefinitionBroken", "“%s” is not a machine's definition: %s (line %d).", label,
                         doc ? "it has a document type declaration" : complaint.text, complaint.line);
    } else if (validate(doc, &complaint) != 0) {
        r = gh_error_set(err, -EINVAL, "DefinitionBroken", "“%s” does not fit the schema of machine definitions: %s (line %d).",
                         label, complaint.text, complaint.line);
    } else if (!(d = gh_definition_new())) {
        r = gh_error_set(err, -ENOMEM, "NoMemory", "The host has no memory left.");
    } else {
        r = read_machine(d, xmlDocGetRootElement(doc), err);
        if (r)
            gh_error_prefix(err, "“%s”", label);
    }
    xmlSetStructuredErrorFunc(NULL, NULL);
    xmlFreeDoc(doc);
    xmlFreeParserCtxt(ctx);
    if (r) {
        gh_definition_free(d);
        return r;
    }
    *ret = d;
    return 0;
}

static void start(xmlTextWriterPtr w, const char *name) { xmlTextWriterStartElement(w, (const xmlChar *)name); }
static void end(xmlTextWriterPtr w) { xmlTextWriterEndElement(w); }
static void attr(xmlTextWriterPtr w, const char *name, const char *value)
{
    if (value && value[0])
        xmlTextWriterWriteAttribute(w, (const xmlChar *)name, (const xmlChar *)value);
}
static void attr_number(xmlTextWriterPtr w, const char *name, uint64_t value)
{ xmlTextWriterWriteFormatAttribute(w, (const xmlChar *)name, "%llu", (unsigned long long)value); }
static void element(xmlTextWriterPtr w, const char *name, const char *text)
{
    if (text && text[0])
        xmlTextWriterWriteElement(w, (const xmlChar *)name, (const xmlChar *)text);
}

static void write_devices(xmlTextWriterPtr w, const struct gh_definition *d)
{
    static const char *const kinds[] = { "disk", "cdrom", "floppy" };

    start(w, "devices");
    for (unsigned i = 0; i < d->medium_count; i++) {
        const struct gh_medium *m = &d->medium[i];
        start(w, kinds[m->kind]);
        attr(w, "bus", m->bus);
        attr(w, "format", m->format);
        attr(w, "mode", m->mode);
        attr(w, "cache", m->cache);
        attr(w, "discard", m->keep_space ? "off" : NULL);
        if (m->limit_bytes)
            attr_number(w, "limit-bytes", m->limit_bytes);
        if (m->limit_ops)
            attr_number(w, "limit-ops", m->limit_ops);
        attr(w, "file", m->file);
        end(w);
    }
    for (unsigned i = 0; i < d->network_count; i++) {
        const struct gh_network *n = &d->network[i];
        start(w, "network");
        attr(w, "adapter", n->adapter);
        attr(w, "mode", n->mode);
        attr(w, "network", n->name);
        attr(w, "mac", n->mac);
        attr(w, "connected", n->connected ? "yes" : "no");
        if (n->limit_kbits)
            attr_number(w, "limit-kbits", n->limit_kbits);
        attr(w, "socket", n->socket);
        attr(w, "host-loopback", n->host_loopback ? "yes" : NULL);
        attr(w, "ipv6", n->no_ipv6 ? "no" : NULL);
        attr(w, "subnet", n->subnet);
        attr(w, "tftp", n->tftp);
        attr(w, "bootfile", n->bootfile);
        for (unsigned f = 0; f < n->forward_count; f++) {
            start(w, "forward");
            attr(w, "protocol", n->forward[f].protocol);
            attr(w, "address", n->forward[f].host_address);
            attr_number(w, "host-port", n->forward[f].host_port);
            attr_number(w, "guest-port", n->forward[f].guest_port);
            end(w);
        }
        end(w);
    }
    end(w);
}

int gh_definition_format(const struct gh_definition *d, char **ret, size_t *ret_length, struct gh_error *err)
{
    xmlBufferPtr buffer = xmlBufferCreate();
    xmlTextWriterPtr w = buffer ? xmlNewTextWriterMemory(buffer, 0) : NULL;

    if (!w) {
        xmlBufferFree(buffer);
        return gh_error_set(err, -ENOMEM, "NoMemory", "The host has no memory left.");
    }
    xmlTextWriterSetIndent(w, 1);
    xmlTextWriterSetIndentString(w, (const xmlChar *)"  ");
    xmlTextWriterStartDocument(w, NULL, "UTF-8", NULL);
    start(w, "machine");
    attr(w, "xmlns", GH_DEFINITION_NS);
    attr(w, "uuid", d->uuid);
    attr_number(w, "revision", d->revision);
    attr_number(w, "created", (uint64_t)d->created);
    attr_number(w, "last-started", (uint64_t)d->last_started);
    element(w, "name", d->name);
    element(w, "description", d->description);
    start(w, "os"), attr(w, "id", d->os_id), end(w);
    start(w, "memory"), attr_number(w, "mib", d->memory_bytes >> 20), end(w);
    start(w, "cpu"), attr_number(w, "count", d->cpus), attr(w, "model", d->cpu_model), end(w);
    element(w, "accelerator", d->accelerator);
    element(w, "board", d->board);
    element(w, "firmware", d->firmware);
    start(w, "boot"), attr(w, "order", d->boot_order), end(w);
    start(w, "clock"), attr(w, "base", d->clock_base), end(w);
    element(w, "pointer", d->pointer);
    start(w, "video"), attr_number(w, "mib", d->video_mib), end(w);
    write_devices(w, d);
    end(w);
    int r = xmlTextWriterEndDocument(w);
    xmlFreeTextWriter(w);
    *ret = r < 0 ? NULL : strdup((const char *)xmlBufferContent(buffer));
    *ret_length = *ret ? strlen(*ret) : 0;
    xmlBufferFree(buffer);
    return *ret ? 0 : gh_error_set(err, -ENOMEM, "NoMemory", "The host has no memory left.");
}
