/* SPDX-License-Identifier: MIT */
#include "foreign/wire.h"

#include <string.h>

#define MOST_NUMBER ((1u << 29) - 1)

imp_wire imp_wire_of(
    const uint8_t *data, size_t at, size_t end, const imp_wire_rule *rules, size_t n) {
    return (imp_wire){.data = data, .at = at, .end = end, .rules = rules, .n = n};
}

static bool damaged(imp_wire *w, const char *how) {
    w->damage = how;
    return false;
}

static bool cut(imp_wire *w, const char *how) {
    w->cut = true;
    return damaged(w, how);
}

static bool varint(imp_wire *w, uint64_t *out) {
    *out = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (w->at == w->end)
            return cut(w, "expected a whole varint, found the message's end");
        uint8_t byte = w->data[w->at++];
        if (shift == 63 && byte > 1) break;
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return true;
    }
    return damaged(w, "expected a varint of at most 64 bits, found a longer one");
}

static uint64_t little_endian(const uint8_t *p, size_t n) {
    uint64_t x = 0;
    while (n--) x = x << 8 | p[n];
    return x;
}

static bool take(imp_wire *w, imp_wire_field *out, uint64_t length) {
    if (length > w->end - w->at)
        return cut(w, "expected a length within its message, found one beyond its end "
                      "(was the file cut short?)");
    out->offset = w->at;
    out->length = (size_t)length;
    w->at += out->length;
    return true;
}

/* Any field, known or not. */
static bool read_field(imp_wire *w, imp_wire_field *out) {
    uint64_t tag, length;
    *out = (imp_wire_field){0};
    if (!varint(w, &tag)) return false;
    w->number = tag >> 3 <= MOST_NUMBER ? (uint32_t)(tag >> 3) : 0;
    if (w->number == 0)
        return damaged(
            w, "expected a field's number from 1 to 536870911, found another");
    out->number = w->number;
    out->type = 1u << (tag & 7);
    switch (out->type) {
    case IMP_WIRE_VARINT:
        return varint(w, &out->value);
    case IMP_WIRE_BYTES:
        return varint(w, &length) && take(w, out, length);
    case IMP_WIRE_FIXED32:
    case IMP_WIRE_FIXED64:
        if (!take(w, out, out->type == IMP_WIRE_FIXED32 ? 4 : 8)) return false;
        out->value = little_endian(w->data + out->offset, out->length);
        return true;
    default:
        return damaged(w, "expected wire type 0, 1, 2 or 5, found another (a group?)");
    }
}

static bool obeys(imp_wire *w, const imp_wire_field *field, size_t rule) {
    if (!(field->type & w->rules[rule].types))
        return damaged(w, "expected a wire type of this field, found another");
    if (w->rules[rule].once && w->seen >> rule & 1)
        return damaged(w, "expected it once, found it again");
    w->seen |= (uint64_t)1 << rule;
    return true;
}

bool imp_wire_next(imp_wire *w, imp_wire_field *out) {
    while (!w->damage && w->at < w->end) {
        if (!read_field(w, out)) return false;
        for (size_t i = 0; i < w->n; i++)
            if (w->rules[i].number == out->number) return obeys(w, out, i);
        if (w->strict)
            return damaged(w, "expected a field of this message, found another");
    }
    return false;
}

imp_status imp_wire_end(imp_foreign *f, const imp_wire *w, const char *place) {
    if (!w->damage) return IMP_OK;
    return imp_foreign_fail(
        f, "%s: field %u, before byte %zu: %s", place, w->number, w->at, w->damage);
}

imp_span imp_wire_span(const imp_wire *w, const imp_wire_field *field) {
    return (imp_span){(const char *)w->data + field->offset, field->length};
}

bool imp_span_is(imp_span s, const char *text) {
    return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

bool imp_span_equal(imp_span a, imp_span b) {
    return a.n == b.n && memcmp(a.p, b.p, a.n) == 0;
}

void imp_wire_ints(
    imp_wire *w, const imp_wire_field *field, int64_t *out, size_t room, size_t *n) {
    imp_wire packed = imp_wire_of(w->data, field->offset, field->offset + field->length,
        NULL, 0); /* empty where it is not packed */
    bool single = field->type == IMP_WIRE_VARINT;
    uint64_t value = field->value;
    while (single || packed.at < packed.end) {
        if (!single && !varint(&packed, &value)) {
            w->damage = packed.damage;
            return;
        }
        if (*n == room) {
            w->damage = "expected fewer numbers, found more";
            return;
        }
        out[(*n)++] = (int64_t)value;
        single = false;
    }
}

void imp_wire_count(
    imp_wire *w, imp_wire_numbers *n, const imp_wire_field *field, size_t size) {
    if (field->length % size) {
        w->damage = "expected whole numbers, found bytes that are none at their end";
        return;
    }
    if (field->length == 0) return;
    if (n->pieces++ == 0) n->first = field->offset;
    n->bytes += field->length; /* below the file's size: pieces do not overlap */
}

/* --- sending --- */

typedef struct sender {
    imp_foreign *f;
    size_t n;
    uint8_t bytes[1 << 16];
} sender;

static imp_status flush(sender *s) {
    size_t n = s->n;
    s->n = 0;
    return n ? imp_foreign_send(s->f, s->bytes, n) : IMP_OK;
}

static imp_status put(sender *s, const uint8_t *p, size_t n) {
    while (n) {
        size_t now = imp_least(n, sizeof s->bytes - s->n);
        memcpy(s->bytes + s->n, p, now);
        s->n += now;
        p += now;
        n -= now;
        imp_status status = s->n == sizeof s->bytes ? flush(s) : IMP_OK;
        if (status) return status;
    }
    return IMP_OK;
}

imp_status imp_wire_send(imp_foreign *f, const imp_wire_source *source) {
    const imp_wire_rule rule = {
        source->number, IMP_WIRE_BYTES | IMP_WIRE_FIXED32 | IMP_WIRE_FIXED64, false};
    imp_wire w = imp_wire_of(f->data, source->at, source->end, &rule, 1);
    imp_wire_field field;
    sender s;
    s.f = f;
    s.n = 0;
    while (imp_wire_next(&w, &field)) {
        imp_status status = put(&s, f->data + field.offset, field.length);
        if (status) return status;
    }
    imp_status status = imp_wire_end(f, &w, "numbers");
    return status ? status : flush(&s);
}
