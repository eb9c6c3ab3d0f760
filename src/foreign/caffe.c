/* SPDX-License-Identifier: MIT */
#include "foreign/foreign.h"

static bool recognise(const uint8_t *data, size_t size) {
    (void)data, (void)size;
    return false;
}

static imp_status open_file(imp_foreign *f) {
    return imp_foreign_lacks(f, "");
}

const imp_reader imp_reader_caffe = {
    .format = "Caffe", .recognise = recognise, .open = open_file};
