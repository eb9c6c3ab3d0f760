/* SPDX-License-Identifier: MIT
 *
 * Caffe's caffemodel of any bytes.
 */
#include "fuzz_foreign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return fuzz_reader(&imp_reader_caffe, data, size);
}
