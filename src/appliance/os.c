/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Names of operating systems. VirtualBox ("Debian12_64"), VMware ("debian12-64", "windows9-64"), OVF
 * descriptions and Quickemu all say nearly the same in their own spelling: letters and digits only, in
 * lower case, by the longest beginning. An id that names no version means "one of these".
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "appliance/appliance.h"
#include "base/bytes.h"

static const struct { const char *begins, *id; } systems[] = {
    { "debian13", "http://debian.org/debian/13" }, { "debian12", "http://debian.org/debian/12" },
    { "debian11", "http://debian.org/debian/11" }, { "debian10", "http://debian.org/debian/10" },
    { "debian9", "http://debian.org/debian/9" }, { "debian8", "http://debian.org/debian/8" },
    { "debian7", "http://debian.org/debian/7" }, { "debian6", "http://debian.org/debian/6" },
    { "debian", "http://debian.org/debian/12" },
    { "ubuntu2404", "http://ubuntu.com/ubuntu/24.04" }, { "ubuntu24", "http://ubuntu.com/ubuntu/24.04" },
    { "ubuntu2204", "http://ubuntu.com/ubuntu/22.04" }, { "ubuntu22", "http://ubuntu.com/ubuntu/22.04" },
    { "ubuntu2004", "http://ubuntu.com/ubuntu/20.04" }, { "ubuntu20", "http://ubuntu.com/ubuntu/20.04" },
    { "ubuntu1804", "http://ubuntu.com/ubuntu/18.04" }, { "ubuntu18", "http://ubuntu.com/ubuntu/18.04" },
    { "ubuntu", "http://ubuntu.com/ubuntu/22.04" }, { "xubuntu", "http://ubuntu.com/ubuntu/22.04" },
    { "fedora", "http://fedoraproject.org/fedora/37" },
    { "opensuse", "http://opensuse.org/opensuse/tumbleweed" }, { "suse", "http://opensuse.org/opensuse/tumbleweed" },
    { "sles", "http://suse.com/sle/15" }, { "archlinux", "http://archlinux.org/archlinux/rolling" },
    { "redhat9", "http://redhat.com/rhel/9.0" }, { "rhel9", "http://redhat.com/rhel/9.0" },
    { "redhat8", "http://redhat.com/rhel/8.0" }, { "rhel8", "http://redhat.com/rhel/8.0" },
    { "redhatenterpriselinux9", "http://redhat.com/rhel/9.0" }, { "redhatenterpriselinux8", "http://redhat.com/rhel/8.0" },
    { "redhat", "http://redhat.com/rhel/7.0" }, { "rhel", "http://redhat.com/rhel/7.0" },
    { "centos8", "http://centos.org/centos/8" }, { "centos7", "http://centos.org/centos/7.0" }, { "centos", "http://centos.org/centos/7.0" },
    { "rockylinux", "http://rockylinux.org/rocky/9" }, { "almalinux", "http://almalinux.org/almalinux/9" },
    { "alpine", "http://alpinelinux.org/alpinelinux/3.17" }, { "gentoo", "http://gentoo.org/gentoo/rolling" },
    { "mageia", "http://mageia.org/mageia/8" }, { "oracle", "http://oracle.com/ol/8.0" },
    { "windows11", "http://microsoft.com/win/11" }, { "windows10", "http://microsoft.com/win/10" },
    { "windows9server", "http://microsoft.com/win/2k16" }, { "windows9", "http://microsoft.com/win/10" },
    { "windows81", "http://microsoft.com/win/8.1" }, { "windows8srv", "http://microsoft.com/win/2k12" },
    { "windows8server", "http://microsoft.com/win/2k12" }, { "windows8", "http://microsoft.com/win/8" },
    { "windows7srv", "http://microsoft.com/win/2k8r2" }, { "windows7server", "http://microsoft.com/win/2k8r2" },
    { "windows7", "http://microsoft.com/win/7" }, { "windowsvista", "http://microsoft.com/win/vista" }, { "winvista", "http://microsoft.com/win/vista" },
    { "windowsserver2022", "http://microsoft.com/win/2k22" }, { "windowsserver2019", "http://microsoft.com/win/2k19" },
    { "windowsserver2016", "http://microsoft.com/win/2k16" }, { "windowsserver2012r2", "http://microsoft.com/win/2k12r2" },
    { "windowsserver2012", "http://microsoft.com/win/2k12" }, { "windowsserver2008r2", "http://microsoft.com/win/2k8r2" },
    { "windowsserver2008", "http://microsoft.com/win/2k8" }, { "windowsserver2003", "http://microsoft.com/win/2k3" },
    { "windowslonghorn", "http://microsoft.com/win/2k8" }, { "winlonghorn", "http://microsoft.com/win/2k8" }, { "winnet", "http://microsoft.com/win/2k3" },
    { "windows2022", "http://microsoft.com/win/2k22" }, { "windows2019", "http://microsoft.com/win/2k19" },
    { "windows2016", "http://microsoft.com/win/2k16" }, { "windows2012", "http://microsoft.com/win/2k12" },
    { "windows2008", "http://microsoft.com/win/2k8" }, { "windows2003", "http://microsoft.com/win/2k3" },
    { "windows2000", "http://microsoft.com/win/2k" }, { "win2000", "http://microsoft.com/win/2k" },
    { "windowsxp", "http://microsoft.com/win/xp" }, { "winxp", "http://microsoft.com/win/xp" },
    { "winnt", "http://microsoft.com/winnt/4.0" }, { "windowsnt", "http://microsoft.com/winnt/4.0" },
    { "windowsme", "http://microsoft.com/win/me" }, { "windows98", "http://microsoft.com/win/98" }, { "win98", "http://microsoft.com/win/98" },
    { "windows95", "http://microsoft.com/win/95" }, { "win95", "http://microsoft.com/win/95" },
    { "windows31", "http://microsoft.com/win/3.1" }, { "win31", "http://microsoft.com/win/3.1" },
    { "windows", "http://microsoft.com/win/10" }, { "win10", "http://microsoft.com/win/10" }, { "win11", "http://microsoft.com/win/11" },
    { "dos", "http://microsoft.com/msdos/6.22" }, { "msdos", "http://microsoft.com/msdos/6.22" },
    { "freebsd14", "http://freebsd.org/freebsd/14.0" }, { "freebsd13", "http://freebsd.org/freebsd/13.0" },
    { "freebsd12", "http://freebsd.org/freebsd/12.0" }, { "freebsd", "http://freebsd.org/freebsd/13.0" },
    { "openbsd", "http://openbsd.org/openbsd/7.2" }, { "netbsd", "http://netbsd.org/netbsd/9.3" },
    { "solaris11", "http://oracle.com/solaris/11" }, { "haiku", "http://haiku-os.org/haiku/nightly" },
    { "reactos", "http://reactos.org/reactos/0.4" },
    { "linux", "http://libosinfo.org/linux/2022" }, { "other6xlinux", "http://libosinfo.org/linux/2022" },
    { "other5xlinux", "http://libosinfo.org/linux/2022" }, { "other4xlinux", "http://libosinfo.org/linux/2022" },
    { "other6x", "http://libosinfo.org/linux/2022" }, { "other5x", "http://libosinfo.org/linux/2022" }, { "other4x", "http://libosinfo.org/linux/2022" },
    { "other3x", "http://libosinfo.org/linux/2018" }, { "other26x", "http://libosinfo.org/linux/2018" },
    { "other3xlinux", "http://libosinfo.org/linux/2018" }, { "other26xlinux", "http://libosinfo.org/linux/2018" },
    { "otherlinux", "http://libosinfo.org/linux/2022" },
};

const char *gh_appliance_os_id(const char *text)
{
    char plain[128];
    size_t n = 0, best = 0;
    const char *id = "";

    for (const char *p = text; *p && n + 1 < sizeof plain; p++)
        if (isalnum((unsigned char)*p))
            plain[n++] = (char)tolower((unsigned char)*p);
    plain[n] = 0;
    /* The width of the processor is no version: "Debian_64" names none. */
    static const char *const widths[] = { "guest", "bit", "64", "32" };
    for (size_t i = 0; i < GH_ARRAY_LEN(widths); i++) {
        size_t len = strlen(widths[i]);
        if (n > len && !strcmp(plain + n - len, widths[i]))
            plain[n -= len] = 0;
    }
    const char *start = !strncmp(plain, "microsoft", 9) ? plain + 9 : plain;
    for (size_t i = 0; i < GH_ARRAY_LEN(systems); i++) {
        size_t len = strlen(systems[i].begins);
        if (len > best && !strncmp(start, systems[i].begins, len)) {
            best = len;
            id = systems[i].id;
        }
    }
    return id;
}
