/* SPDX-License-Identifier: MIT */
#include "fuzz_foreign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return fuzz_reader(&imp_reader_pth_zip, data, size);
}
