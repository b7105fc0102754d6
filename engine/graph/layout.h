/* layout.h - how a quantized matrix (rows, cols) lies in device memory: planes instead of blocks.
 *
 * One layout a format serves mat-vec, A B^T, A B and row gather (ADR 0001):
 *   plane 0: quants, row-major.  q8_0: one signed byte an element, four to a word, in order.
 *            The others: eight elements to a word; byte j of word w holds element 8w+j in its low
 *            and element 8w+4+j in its high nibble, so that `w & 0x0f0f0f0f` is four in order.
 *   plane 1: rows of words, of the upper bits first, then of the scales.
 *            Upper bits: q5_0, q5_1: a word for 32 elements, bit 8j+i is that of element 4i+j;
 *            q6_k: a word for 16, bits 8j+2i and 8j+2i+1 are those of element 4i+j: a shift and a
 *            mask put those of four in order above their nibbles.
 *            Scales: one entry for 32 elements.  q8_0, q4_0, q5_0: d as f16, two to a word;
 *            q4_1, q5_1: d and m as f16, one word;
 *            q4_k: four words for 256 elements: d and that of the minima as f16; eight bytes, of
 *            32 elements each, with four bits of the scale and, above, of the minimum; eight
 *            times four bits, two more of the scale and, above, of the minimum;
 *            q6_k: signed bytes, one for 16 elements; then d as f16 for 256, two to a word.
 *            Rows are whole words, of q6_k an even number (which is also their padding).
 * Plane 1 starts at the next multiple of 256 bytes.  No value is re-rounded.  cols is a multiple
 * of the format's block. */
#ifndef APUSI_LAYOUT_H
#define APUSI_LAYOUT_H

#include "dtype.h"

/* Bytes of both planes; false if cols are not whole blocks or the size overflows. */
bool apus_layout_bytes(apus_dtype dtype, uint64_t rows, uint64_t cols, uint64_t *bytes);
/* Bytes of plane 0 in a row. */
uint64_t apus_layout_quant_bytes(apus_dtype dtype, uint64_t cols);
/* Where plane 1 starts. */
uint64_t apus_layout_scales_at(apus_dtype dtype, uint64_t rows, uint64_t cols);
/* Words of plane 1 in a row. */
uint32_t apus_layout_scale_words(apus_dtype dtype, uint32_t cols);
/* Re-lay one row of file blocks: `quants` and `scales` are the row's places in the two planes. */
void apus_layout_row(apus_dtype dtype, const uint8_t *blocks, uint32_t cols, uint8_t *quants,
                     uint8_t *scales);

#endif
