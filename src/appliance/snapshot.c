/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Snapshots of a foreign machine. A machine here is one state of its disks: either the current one, or one snapshot that is
 * asked for. The report names the others and how to get them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "appliance/appliance.h"
#include "appliance/i18n.h"

struct gh_appliance_snapshot *gh_appliance_add_snapshot(struct gh_appliance *a, const char *name, const char *id, const char *time)
{
    struct gh_appliance_snapshot *s = a->snapshot_count < GH_APPLIANCE_SNAPSHOTS_MAX
                                    ? realloc(a->snapshots, (a->snapshot_count + 1) * sizeof *s) : NULL;

    if (!s) {
        gh_appliance_note(a, GH_DROPPED, _("Further snapshots; at most %d are looked at."), GH_APPLIANCE_SNAPSHOTS_MAX);
        return NULL;
    }
    a->snapshots = s;
    s += a->snapshot_count++;
    memset(s, 0, sizeof *s);
    gh_appliance_text(s->name, sizeof s->name, name);
    gh_appliance_text(s->id, sizeof s->id, id);
    gh_appliance_text(s->time, sizeof s->time, time);
    return s;
}

bool gh_appliance_wants(const struct gh_appliance *a, const char *name, const char *id)
{
    char plain[sizeof a->snapshot];

    gh_appliance_text(plain, sizeof plain, name);
    if (!a->snapshot[0] || !strcmp(a->snapshot, plain))
        return a->snapshot[0];
    /* The file writes ids in braces, VBoxManage prints them without. */
    size_t n = strlen(id);
    return n && (!strcasecmp(a->snapshot, id) || (a->snapshot[0] == '{' && !strncasecmp(a->snapshot + 1, id, n) && !strcmp(a->snapshot + 1 + n, "}")));
}

int gh_appliance_from_snapshot(struct gh_appliance *a, bool found, bool memory, const char *path, struct gh_error *err)
{
    char name[sizeof a->name];

    if (!a->snapshot[0]) {
        for (unsigned i = 0; i < a->snapshot_count; i++)
            gh_appliance_note(a, GH_DROPPED, _("The snapshot “%.100s”: the current state is imported. It can become a machine of its own: gasthausctl import --snapshot."),
                              a->snapshots[i].name);
        return 0;
    }
    if (!found)
        return gh_error_set(err, -ENOENT, "SnapshotUnknown", "“%s” has no snapshot “%s”. Its report without that names all it has.", path, a->snapshot);
    for (unsigned i = 0; i < a->snapshot_count; i++)
        if (gh_appliance_wants(a, a->snapshots[i].name, a->snapshots[i].id) && a->snapshots[i].name[0]) {
            snprintf(a->snapshot, sizeof a->snapshot, "%s", a->snapshots[i].name); /* it may have been asked for by its id */
            break;
        }
    gh_appliance_note(a, GH_KEPT, _("The disks as they were at the snapshot “%.100s”"), a->snapshot);
    gh_appliance_note(a, GH_DROPPED, _("What came after that snapshot, the current state included; the source keeps it"));
    if (memory)
        gh_appliance_note(a, GH_DROPPED, _("What the snapshot saved of the memory; the machine starts as after pulling the plug"));
    int n = snprintf(name, sizeof name, "%.120s (%.100s)", a->name, a->snapshot);
    if (a->name[0] && n > 0 && n < (int)sizeof name)
        gh_appliance_text(a->name, sizeof a->name, name);
    return 0;
}
