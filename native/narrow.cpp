// Products whose rows fill no more than half of a vector: with vectors of half the width, on which many processors work
// twice as fast. The same tiles, compiled once more.
#undef CHAINRULE_ISA
#define CHAINRULE_ISA avx512_half
#define CHAINRULE_HALF
#include "dense.h"

namespace chainrule {

void narrow_product(const Product<float>& work) { avx512_half::product(work); }
void narrow_product(const Product<double>& work) { avx512_half::product(work); }

}  // namespace chainrule
