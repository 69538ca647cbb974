// The kernels of optimizer stages: in a file of their own because they are compiled without fused
// multiply-adds.
#include "stages.h"

namespace chainrule::CHAINRULE_ISA {

void add_stages(Kernels<float>& table) { add_stages<float>(table); }
void add_stages(Kernels<double>& table) { add_stages<double>(table); }

}  // namespace chainrule::CHAINRULE_ISA
