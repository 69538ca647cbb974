// Matrix products whose rows fill at most half of an AVX-512 vector: the same tiles, compiled for
// 256-bit vectors, of which many processors execute twice as many per cycle.
#undef CHAINRULE_ISA
#define CHAINRULE_ISA avx512_half
#define CHAINRULE_HALF
#include "tiles.h"

namespace chainrule {

void narrow_product(const Product<float>& work) { avx512_half::tiled_product(work); }
void narrow_product(const Product<double>& work) { avx512_half::tiled_product(work); }

}  // namespace chainrule
