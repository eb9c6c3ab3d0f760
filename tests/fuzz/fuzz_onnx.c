/* SPDX-License-Identifier: MIT
 *
 * ONNX of any bytes.
 */
#include "fuzz_foreign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return fuzz_reader(&imp_reader_onnx, data, size);
}
