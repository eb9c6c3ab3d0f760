/* SPDX-License-Identifier: MIT
 *
 * foreign_messages.h: messages of protobuf, put together by hand. Include after foreign_files.h.
 */
#ifndef TESTS_FOREIGN_MESSAGES_H
#define TESTS_FOREIGN_MESSAGES_H

/* The numbers of most. */
static const float nine[] = {1, -2, 3, 0.5f, 5, -6, 7, 8, 9};

typedef struct msg {
    uint8_t data[16384];
    size_t n;
} msg;

static inline void byte(msg *m, unsigned value) {
    assert_true(m->n < sizeof m->data);
    m->data[m->n++] = (uint8_t)value;
}

static inline void varint(msg *m, uint64_t value) {
    for (; value >= 0x80; value >>= 7) byte(m, (unsigned)(value & 0x7f) | 0x80);
    byte(m, (unsigned)value);
}

static inline void number(msg *m, unsigned field, int64_t value) {
    varint(m, field << 3);
    varint(m, (uint64_t)value);
}

static inline void bytes(msg *m, unsigned field, const void *data, size_t n) {
    varint(m, field << 3 | 2);
    varint(m, n);
    assert_true(n <= sizeof m->data - m->n);
    memcpy(m->data + m->n, data, n);
    m->n += n;
}

static inline void text(msg *m, unsigned field, const char *value) {
    bytes(m, field, value, strlen(value));
}

static inline void sub(msg *m, unsigned field, const msg *child) {
    bytes(m, field, child->data, child->n);
}

static inline void real(msg *m, unsigned field, float value) {
    varint(m, field << 3 | 5);
    for (size_t i = 0; i < 4; i++) byte(m, ((const uint8_t *)&value)[i]);
}

#endif
