/* SPDX-License-Identifier: MIT
 *
 * memory.c: /proc/meminfo, control groups (version 2 and 1), RLIMIT_AS.
 */
#include "memory.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { PATH = 1024 };

/* The number after key at the beginning of a line; key "": the file's first number.
 * Infinity where there is none ("max"). */
static double read_number(const char *path, const char *key) {
    FILE *file = fopen(path, "re");
    double value = INFINITY;
    if (!file) return value;
    char line[256];
    size_t n = strlen(key);
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, key, n) != 0) continue;
        char *end;
        double number = strtod(line + n, &end);
        if (end != line + n) value = number;
        break;
    }
    fclose(file);
    return value;
}

/* What one group has left: its limit less its use, the cache that can be dropped apart.
 */
static double left_in_group(const char *folder, bool v2) {
    char path[PATH + 64];
    snprintf(path, sizeof path, "%s/%s", folder,
        v2 ? "memory.max" : "memory.limit_in_bytes");
    double limit = read_number(path, "");
    if (!isfinite(limit)) return INFINITY;
    snprintf(path, sizeof path, "%s/%s", folder,
        v2 ? "memory.current" : "memory.usage_in_bytes");
    double used = read_number(path, "");
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    double cache = read_number(path, v2 ? "inactive_file " : "total_inactive_file ");
    if (!isfinite(used)) return INFINITY;
    if (isfinite(cache)) used -= cache;
    return limit > used ? limit - used : 0;
}

/* The least left in the group and in those above it, up to the root. */
static double left_in_groups(const char *root, const char *group, bool v2) {
    char folder[PATH];
    int n = snprintf(folder, sizeof folder, "%s%s", root, group);
    if (n < 0 || n >= PATH) return INFINITY;
    double least = INFINITY;
    while (strlen(folder) >= strlen(root)) {
        least = fmin(least, left_in_group(folder, v2));
        char *slash = strrchr(folder, '/');
        if (!slash) break;
        *slash = 0;
    }
    return least;
}

/* /proc/self/cgroup has lines "0::/group" (v2) and "7:cpu,memory:/group" (v1). */
static double cgroup_left(void) {
    FILE *file = fopen("/proc/self/cgroup", "re");
    if (!file) return INFINITY;
    double least = INFINITY;
    char line[PATH];
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group) continue;
        *group++ = 0;
        if (strcmp(line, "0:") == 0)
            least = fmin(least, left_in_groups("/sys/fs/cgroup", group, true));
        else if (strstr(controllers, "memory"))
            least = fmin(least, left_in_groups("/sys/fs/cgroup/memory", group, false));
    }
    fclose(file);
    return least;
}

static double address_space_left(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return INFINITY;
    double used = read_number("/proc/self/status", "VmSize:") * 1024;
    if (!isfinite(used)) return INFINITY;
    return fmax(0, (double)limit.rlim_cur - used);
}

double app_memory_available(void) {
    double system = read_number("/proc/meminfo", "MemAvailable:") * 1024;
    return fmin(system, fmin(cgroup_left(), address_space_left()));
}

size_t app_memory_peak(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (size_t)usage.ru_maxrss * 1024 : 0;
}
