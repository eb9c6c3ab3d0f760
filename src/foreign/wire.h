/* SPDX-License-Identifier: MIT
 *
 * wire.h: protobuf's wire format, walked where it lies in the mapped file. A message
 * is a row of fields: a tag (number and wire type), then a varint, four or eight
 * bytes, or a length and that many bytes (protobuf.dev, "Encoding"). Nothing is
 * copied, and payloads are stepped over by their lengths. (protobuf-c would hold each
 * blob twice.)
 */
#ifndef IMP_FOREIGN_WIRE_H
#define IMP_FOREIGN_WIRE_H

#include "foreign/foreign.h"

/* Wire types, as bits: what a field may have. */
#define IMP_WIRE_VARINT  (1u << 0)
#define IMP_WIRE_FIXED64 (1u << 1)
#define IMP_WIRE_BYTES   (1u << 2)
#define IMP_WIRE_FIXED32 (1u << 5)
/* Repeated ones, packed or not. */
#define IMP_WIRE_INTS    (IMP_WIRE_VARINT | IMP_WIRE_BYTES)
#define IMP_WIRE_FLOATS  (IMP_WIRE_FIXED32 | IMP_WIRE_BYTES)
#define IMP_WIRE_DOUBLES (IMP_WIRE_FIXED64 | IMP_WIRE_BYTES)

/* A field that a message is known to have. */
typedef struct imp_wire_rule {
    uint32_t number;
    unsigned types;
    bool once; /* a message that is not repeated: two would have to be merged */
} imp_wire_rule;

/* A message, and how far it is read. */
typedef struct imp_wire {
    const uint8_t *data; /* the file */
    size_t at, end;      /* what is left */
    const imp_wire_rule *rules;
    size_t n;           /* rules, at most 64 */
    bool strict;        /* has it no other fields? Else they are stepped over. */
    uint64_t seen;      /* which rules once were met */
    uint32_t number;    /* of the field at hand */
    const char *damage; /* "expected X, found Y"; NULL: none */
    bool cut;           /* the damage is that it ends too early */
} imp_wire;

typedef struct imp_wire_field {
    uint32_t number;
    unsigned type;         /* one of the bits */
    uint64_t value;        /* of a varint, or of four or eight bytes */
    size_t offset, length; /* in the file; of all but varints */
} imp_wire_field;

/* Text or bytes in the file. */
typedef struct imp_span {
    const char *p;
    size_t n;
} imp_span;

/* For "%.*s" in messages, which are short. */
#define IMP_SPAN(s)     (int)imp_least((s).n, 80), (s).p
#define IMP_NO_SPAN     ((imp_span){"", 0})
#define IMP_WIRE_ALL(r) (r), sizeof(r) / sizeof *(r)

/* The message in [at, end) of a file, of which that much is in memory. */
imp_wire imp_wire_of(
    const uint8_t *data, size_t at, size_t end, const imp_wire_rule *rules, size_t n);
/* The next field that a rule names, of a type that the rule has. false: the end, or
 * damage. */
bool imp_wire_next(imp_wire *w, imp_wire_field *out);
/* After the last one: IMP_OK, or what is damaged in place ("graph"). */
imp_status imp_wire_end(imp_foreign *f, const imp_wire *w, const char *place);

imp_span imp_wire_span(const imp_wire *w, const imp_wire_field *field);
bool imp_span_is(imp_span s, const char *text);
bool imp_span_equal(imp_span a, imp_span b);

/* The numbers of a repeated IMP_WIRE_INTS field, behind the *n that are there. More
 * than room in all: damage. */
void imp_wire_ints(
    imp_wire *w, const imp_wire_field *field, int64_t *out, size_t room, size_t *n);

/* The numbers of a repeated IMP_WIRE_FLOATS or IMP_WIRE_DOUBLES field. */
typedef struct imp_wire_numbers {
    size_t bytes, pieces; /* in all; 1 piece: they lie side by side */
    size_t first;         /* where the first piece is in the file */
} imp_wire_numbers;

/* One occurrence of it more; size: 4 or 8. */
void imp_wire_count(
    imp_wire *w, imp_wire_numbers *n, const imp_wire_field *field, size_t size);

/* Where numbers lie that are not side by side. */
typedef struct imp_wire_source {
    size_t at, end; /* the message */
    uint32_t number;
} imp_wire_source;

/* All bytes of that field, through imp_foreign_send. */
imp_status imp_wire_send(imp_foreign *f, const imp_wire_source *source);

#endif
