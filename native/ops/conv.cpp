// Any convolution, of matrix products: see conv.h.
#include "../conv.h"

REGISTER_OP(conv, Conv)
