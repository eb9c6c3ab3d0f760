/* SPDX-License-Identifier: MIT
 *
 * fetch.c: HTTP by libcurl. One request at a time; whatever breaks off is gone on with, from
 * the same server or the next, and the checksum has the last word. Redirects are followed
 * here and not by libcurl, so that none leads from https to http.
 */
#include "fetch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "impasto/impasto.h"
#include "report.h"
#include "signals.h"

const char *app_fetch_shown(const char *url, char *out, size_t size) {
    const char *host = strstr(url, "://");
    size_t scheme = host ? (size_t)(host + 3 - url) : 0;
    size_t authority = strcspn(url + scheme, "/?#");
    const char *rest = url + scheme;
    for (size_t i = 0; i < authority; i++)
        if (url[scheme + i] == '@') rest = url + scheme + i + 1;
    int n = snprintf(out, size, "%.*s%s", (int)scheme, url, rest);
    if (n < 0) out[0] = 0; /* a long one is cut: it is for people */
    return out;
}

/* How the checksum compares. Returns the exit status; why is said in text, not told. */
static int compare_digest(const char *path, app_digest_kind kind, const char *digest,
    char *text, size_t size) {
    char found[APP_DIGEST];
    const char *package = app_digest_missing();
    if (package) {
        snprintf(text, size, "checksum: expected an impasto built with %s", package);
        return IMP_ERR_FILE;
    }
    if (!app_digest(path, kind, found)) {
        snprintf(text, size, "%s: cannot read: %s", path, strerror(errno));
        return IMP_ERR_FILE;
    }
    if (strcmp(found, digest) == 0) return 0;
    snprintf(
        text, size, "%s: expected %s, found %s", app_digest_name(kind), digest, found);
    return IMP_ERR_MODEL;
}

int app_fetch_check(
    const char *path, uint64_t size, app_digest_kind kind, const char *digest) {
    struct stat about;
    char why[PATH_MAX + 256];
    if (stat(path, &about) != 0) {
        app_error("%s: cannot read: %s", path, strerror(errno));
        return IMP_ERR_MODEL;
    }
    if (!S_ISREG(about.st_mode)) {
        app_error("%s: kind: expected a file, found something else", path);
        return IMP_ERR_MODEL;
    }
    if ((uint64_t)about.st_size != size) {
        app_error("%s: size: expected %" PRIu64 " bytes, found %jd", path, size,
            (intmax_t)about.st_size);
        return IMP_ERR_MODEL;
    }
    int status = compare_digest(path, kind, digest, why, sizeof why);
    if (status == IMP_ERR_MODEL)
        app_error("%s: %s", path, why);
    else if (status)
        app_error("%s", why);
    return status;
}

#ifdef IMP_WITH_CURL
#include <curl/curl.h>

enum { REDIRECTS = 5, AGAIN = 10, CONNECT_SECONDS = 15, STALL_SECONDS = 30 };
enum { URL = 4096, WORDS = 1 << 16 };

typedef enum verdict {
    WHOLE,      /* all bytes are there */
    REDIRECTED, /* t->url is another one */
    BROKEN,     /* some came, then no more: the same server again */
    AFRESH,     /* the same server again, from the beginning */
    NEXT,       /* another server */
    STOP        /* t->status says why */
} verdict;

typedef struct transfer {
    app_fetch *f;
    CURL *curl;
    const char *mirror; /* of f->urls */
    char url[URL];      /* of this request */
    uint64_t from;      /* where this request began */
    bool begun;         /* its first bytes were looked at */
    size_t words;       /* bytes of a redirect */
    bool mixed;         /* the file has pieces of more than one request */
    bool afresh;        /* it was begun from the beginning on this server already */
    verdict outcome;    /* what the callbacks found */
    int status;         /* of STOP, and of the last failure */
    char tag[256], tag_url[URL];    /* the server's word for this version of the file */
    char seen_tag[256], range[128]; /* of the answer that is coming in */
    char why[PATH_MAX + URL];       /* the last failure, for people */
    char detail[CURL_ERROR_SIZE];   /* libcurl's own words */
    double began, told;             /* seconds: this run, its last event */
    uint64_t at_begin;              /* bytes that were there then */
    double looked, stall; /* seconds: when stalled() looked; how often it does */
    curl_off_t looked_bytes;
} transfer;

static size_t refuse(transfer *t, verdict outcome, int status, const char *format, ...)
    IMP_PRINTF(4, 5);

/* Note why; 0, which makes libcurl give up. */
static size_t refuse(
    transfer *t, verdict outcome, int status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(t->why, sizeof t->why, format, args);
    va_end(args);
    t->outcome = outcome;
    t->status = status;
    return 0;
}

/* --- what comes in --- */

/* The value of a header of that name, without the spaces around it. */
static bool header_value(
    const char *line, size_t n, const char *name, char *out, size_t size) {
    size_t m = strlen(name);
    if (n <= m || line[m] != ':' || strncasecmp(line, name, m) != 0) return false;
    const char *value = line + m + 1, *end = line + n;
    while (value < end && (*value == ' ' || *value == '\t')) value++;
    while (end > value && (unsigned char)end[-1] <= ' ') end--;
    if ((size_t)(end - value) >= size) return false;
    snprintf(out, size, "%.*s", (int)(end - value), value);
    return true;
}

static size_t on_header(char *line, size_t one, size_t n, void *user) {
    transfer *t = user;
    n *= one;
    if (n > 5 && strncmp(line, "HTTP/", 5) == 0) t->seen_tag[0] = t->range[0] = 0;
    (void)header_value(line, n, "ETag", t->seen_tag, sizeof t->seen_tag);
    (void)header_value(line, n, "Content-Range", t->range, sizeof t->range);
    return n;
}

/* Is "bytes 100-199/200" the rest of our file? */
static bool is_rest(const transfer *t) {
    uint64_t first, last, all;
    char end;
    if (sscanf(t->range, "bytes %" SCNu64 "-%" SCNu64 "/%" SCNu64 "%c", &first, &last,
            &all, &end) != 3)
        return false;
    return first == t->from && last == t->f->size - 1 && all == t->f->size;
}

/* The answer's first bytes are there: is it the file, and where do they belong? */
static bool begin(transfer *t) {
    long code = 0;
    curl_off_t length = -1;
    app_partial *p = t->f->partial;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &code);
    curl_easy_getinfo(t->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    t->begun = true;
    if (code == 206 && !is_rest(t))
        return refuse(t, AFRESH, IMP_ERR_FILE,
            "range: expected bytes from %" PRIu64 " on of %" PRIu64 ", found %s",
            t->from, t->f->size, t->range[0] ? t->range : "none");
    if (code != 200 && code != 206)
        return refuse(t, NEXT, IMP_ERR_FILE, "HTTP status %ld", code);
    if (code == 200) t->from = 0; /* it sends all, whatever was asked for */
    if (length >= 0 && (uint64_t)length != t->f->size - t->from)
        return refuse(t, NEXT, IMP_ERR_MODEL,
            "size: expected %" PRIu64 " bytes, found %" PRIu64, t->f->size,
            (uint64_t)length + t->from);
    if (code == 200 && !app_partial_clear(p))
        return refuse(
            t, STOP, IMP_ERR_FILE, "%s: cannot write: %s", p->path, strerror(errno));
    if (code == 200) t->mixed = false;
    snprintf(t->tag, sizeof t->tag, "%s", t->seen_tag);
    snprintf(t->tag_url, sizeof t->tag_url, "%s", t->url);
    return true;
}

static size_t on_bytes(char *bytes, size_t one, size_t n, void *user) {
    transfer *t = user;
    app_partial *p = t->f->partial;
    long code = 0;
    n *= one;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &code);
    if (code >= 300 && code < 400) { /* the words of a redirect */
        t->words += n;
        if (t->words <= WORDS) return n;
        return refuse(
            t, NEXT, IMP_ERR_FILE, "redirect: expected a short one, found more");
    }
    if (!t->begun && !begin(t)) return 0;
    if (n > t->f->size - p->size)
        return refuse(t, NEXT, IMP_ERR_MODEL,
            "size: expected %" PRIu64 " bytes, found more", t->f->size);
    if (!app_partial_put(p, bytes, n))
        return refuse(
            t, STOP, IMP_ERR_FILE, "%s: cannot write: %s", p->path, strerror(errno));
    return n;
}

static void tell(transfer *t, bool last) {
    char have[32], all[32], speed[32];
    uint64_t size = t->f->partial->size;
    double now = app_seconds(), taken = now - t->began;
    double rate =
        taken > 0 && size > t->at_begin ? (double)(size - t->at_begin) / taken : 0;
    if (app_json() && (last || now >= t->told + 1)) {
        t->told = now;
        app_event(json_pack("{s:s, s:o, s:I, s:I, s:o}", "event", "progress", "model",
            app_json_text(t->f->name), "bytes", (json_int_t)size, "of",
            (json_int_t)t->f->size, "seconds", app_json_number(taken)));
    }
    if (rate <= 0 || !app_progress_wanted(last)) return;
    long left = (long)((double)(t->f->size - size) / rate + 0.5);
    app_progress("%s: %s of %s  %s/s  %ld:%02ld left", t->f->name,
        app_bytes(have, sizeof have, (double)size),
        app_bytes(all, sizeof all, (double)t->f->size),
        app_bytes(speed, sizeof speed, rate), left / 60, left % 60);
}

/* Longer than it may take, and less than 1 KB in each second of it? */
static bool stalled(transfer *t) {
    double now = app_seconds();
    curl_off_t bytes = 0;
    curl_easy_getinfo(t->curl, CURLINFO_SIZE_DOWNLOAD_T, &bytes);
    if (now < t->looked + t->stall) return false;
    bool slow = (double)(bytes - t->looked_bytes) < 1024 * t->stall;
    t->looked = now;
    t->looked_bytes = bytes;
    return slow;
}

static int on_progress(
    void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    transfer *t = user;
    (void)a, (void)b, (void)c, (void)d;
    if (app_interrupted()) return 1;
    tell(t, false);
    if (!stalled(t)) return 0;
    refuse(t, NEXT, IMP_ERR_FILE, "stalled for %.0f s", t->stall);
    return 1;
}

/* --- one request --- */

static bool is_https(const char *url) {
    return strncasecmp(url, "https://", 8) == 0;
}

static bool is_web(const char *url) {
    return is_https(url) || strncasecmp(url, "http://", 7) == 0;
}

static double stall_seconds(void) {
    const char *text = getenv("IMPASTO_STALL"); /* the tests cannot wait */
    double seconds;
    if (text && app_read_number(text, 1, 3600, &seconds)) return seconds;
    return STALL_SECONDS;
}

/* What the certificates of servers are held against, where not the system's own. */
static void set_certificates(CURL *curl) {
    const char *file = getenv("SSL_CERT_FILE");
    if (file && file[0]) curl_easy_setopt(curl, CURLOPT_CAINFO, file);
}

static void set_up(transfer *t) {
    CURL *curl = t->curl;
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, t->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "impasto");
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, t->detail);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, t);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    set_certificates(curl);
}

/* Ask for the rest, and for all where the file is another one by now. To be freed. */
static struct curl_slist *set_range(transfer *t) {
    char range[32], header[sizeof t->tag + 16];
    struct curl_slist *headers = NULL;
    if (!t->from) return NULL;
    snprintf(range, sizeof range, "%" PRIu64 "-", t->from);
    curl_easy_setopt(t->curl, CURLOPT_RANGE, range);
    bool weak = strncmp(t->tag, "W/", 2) == 0; /* RFC 9110, 13.1.5: of no use here */
    if (!t->tag[0] || weak || strcmp(t->tag_url, t->url) != 0) return NULL;
    snprintf(header, sizeof header, "If-Range: %s", t->tag);
    headers = curl_slist_append(NULL, header);
    curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, headers);
    return headers;
}

/* Where a redirect leads, into t->url. */
static verdict follow(transfer *t) {
    char *to = NULL, shown[URL];
    curl_easy_getinfo(t->curl, CURLINFO_REDIRECT_URL, &to);
    if (!to || strlen(to) >= sizeof t->url) {
        refuse(t, NEXT, IMP_ERR_FILE, "redirect: expected a URL, found none");
        return NEXT;
    }
    app_fetch_shown(to, shown, sizeof shown);
    if (!is_web(to) || (is_https(t->url) && !is_https(to))) {
        refuse(t, NEXT, IMP_ERR_FILE, "redirect: expected %s, found %s",
            is_https(t->url) ? "https" : "http or https", shown);
        return NEXT;
    }
    snprintf(t->url, sizeof t->url, "%s", to);
    return REDIRECTED;
}

/* The outcome of a request that libcurl has ended with result. */
static verdict judge(transfer *t, CURLcode result, long code) {
    app_partial *p = t->f->partial;
    if (app_interrupted()) return STOP;
    if (t->outcome != WHOLE) return t->outcome; /* a callback has said why */
    if (result == CURLE_OK && code >= 300 && code < 400) return follow(t);
    if (result == CURLE_OK && p->size == t->f->size) return WHOLE;
    bool moved = p->size > t->from && t->begun;
    if (result == CURLE_HTTP_RETURNED_ERROR) {
        refuse(t, code == 416 && t->from ? AFRESH : NEXT, IMP_ERR_FILE,
            "HTTP status %ld", code);
    } else if (result == CURLE_OK || result == CURLE_PARTIAL_FILE ||
               result == CURLE_RECV_ERROR || result == CURLE_GOT_NOTHING ||
               result == CURLE_HTTP2_STREAM) {
        refuse(t, moved ? BROKEN : NEXT, IMP_ERR_FILE,
            "ended after %" PRIu64 " of %" PRIu64 " bytes", p->size, t->f->size);
    } else {
        refuse(t, NEXT, IMP_ERR_FILE, "%s",
            t->detail[0] ? t->detail : curl_easy_strerror(result));
    }
    return t->outcome;
}

static verdict request(transfer *t) {
    long code = 0;
    app_partial *p = t->f->partial;
    set_up(t);
    t->from = p->size;
    t->begun = false;
    t->words = 0;
    t->detail[0] = 0;
    t->looked = app_seconds();
    t->looked_bytes = 0;
    t->outcome = WHOLE;
    if (t->from) t->mixed = true;
    struct curl_slist *headers = set_range(t);
    CURLcode result = curl_easy_perform(t->curl);
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &code);
    verdict outcome = judge(t, result, code);
    curl_slist_free_all(headers);
    return outcome;
}

/* --- one server, all servers --- */

/* All bytes are there. Pieces that do not belong together are no fault of the server's. */
static verdict check(transfer *t) {
    app_partial *p = t->f->partial;
    char why[PATH_MAX + 256];
    int status = compare_digest(p->path, t->f->kind, t->f->digest, why, sizeof why);
    if (!status) return WHOLE;
    if (status != IMP_ERR_MODEL) {
        refuse(t, STOP, status, "%s", why);
        return STOP;
    }
    refuse(t, t->mixed ? AFRESH : NEXT, status, "%s", why);
    if (!app_partial_clear(p)) {
        refuse(t, STOP, IMP_ERR_FILE, "%s: cannot write: %s", p->path, strerror(errno));
        return STOP;
    }
    return t->outcome;
}

/* Once for each server: what is there is of no use, and it sends all. */
static verdict afresh(transfer *t) {
    app_partial *p = t->f->partial;
    if (t->afresh) return NEXT;
    t->afresh = true;
    t->mixed = false;
    if (app_partial_clear(p)) return AFRESH;
    refuse(t, STOP, IMP_ERR_FILE, "%s: cannot write: %s", p->path, strerror(errno));
    return STOP;
}

static verdict from_mirror(transfer *t) {
    int redirects = 0, broken = 0;
    t->afresh = false;
    snprintf(t->url, sizeof t->url, "%s", t->mirror);
    for (;;) {
        verdict outcome = t->f->partial->size == t->f->size ? WHOLE : request(t);
        if (outcome == WHOLE) outcome = check(t);
        if (outcome == AFRESH) outcome = afresh(t);
        if (outcome == REDIRECTED && ++redirects > REDIRECTS) {
            refuse(t, NEXT, IMP_ERR_FILE, "expected at most %d redirects, found more",
                REDIRECTS);
            return NEXT;
        }
        if (outcome == BROKEN && ++broken > AGAIN) return NEXT;
        if (outcome == WHOLE || outcome == NEXT || outcome == STOP) return outcome;
        if (outcome == REDIRECTED) continue;
        redirects = 0; /* an address that was redirected to may be good only once */
        snprintf(t->url, sizeof t->url, "%s", t->mirror);
    }
}

static int give_up(const transfer *t) {
    char shown[URL], kept[128] = "";
    uint64_t size = t->f->partial->size;
    if (app_interrupted()) {
        if (size)
            app_note("%" PRIu64 " of %" PRIu64 " bytes are kept for the next time",
                size, t->f->size);
        return APP_INTERRUPTED;
    }
    if (size)
        snprintf(kept, sizeof kept,
            "; %" PRIu64 " of %" PRIu64 " bytes are kept for the next time", size,
            t->f->size);
    app_error(
        "%s: %s%s", app_fetch_shown(t->mirror, shown, sizeof shown), t->why, kept);
    return t->status;
}

static int from_mirrors(transfer *t) {
    app_fetch *f = t->f;
    for (size_t i = 0; f->urls[i]; i++) {
        char shown[URL];
        t->mirror = f->urls[i];
        if (!is_web(t->mirror) || strlen(t->mirror) >= sizeof t->url) {
            app_error("expected https://... or http://..., found %s",
                app_fetch_shown(t->mirror, shown, sizeof shown));
            return APP_USAGE;
        }
        verdict outcome = from_mirror(t);
        if (outcome == WHOLE) {
            tell(t, true);
            f->source = t->mirror;
            return 0;
        }
        if (outcome == STOP || !f->urls[i + 1]) break;
        app_note("%s: %s; the next server is tried",
            app_fetch_shown(t->mirror, shown, sizeof shown), t->why);
    }
    return give_up(t);
}

int app_fetch_run(app_fetch *f) {
    int status = IMP_ERR_LIMIT;
    transfer *t = calloc(1, sizeof *t);
    bool ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
    if (t && ready) t->curl = curl_easy_init();
    if (t && t->curl) {
        t->f = f;
        t->mixed = true; /* whoever wrote what is there */
        t->began = app_seconds();
        t->stall = stall_seconds();
        t->at_begin = f->partial->size;
        if (f->partial->size > f->size && !app_partial_clear(f->partial)) {
            app_error("%s: cannot write: %s", f->partial->path, strerror(errno));
            status = IMP_ERR_FILE;
        } else {
            status = from_mirrors(t);
        }
        curl_easy_cleanup(t->curl);
    } else {
        app_error("%s: no memory to fetch it", f->name);
    }
    free(t);
    if (ready) curl_global_cleanup();
    return status;
}
#else
int app_fetch_run(app_fetch *f) {
    char shown[PATH_MAX];
    app_error(
        "%s: expected an impasto built with libcurl4-openssl-dev, found one without: "
        "install that package of Debian and build again, or get %s otherwise and give "
        "it with --from FILE",
        f->name, app_fetch_shown(f->urls[0], shown, sizeof shown));
    return IMP_ERR_FILE;
}
#endif
