// The kernels of one instruction set: this file is compiled once for each, with its flags.
#include "kernels.h"

#include "copies.h"
#include "losses.h"

#define STRINGIFY_TOKEN(x) #x
#define STRINGIFY(x) STRINGIFY_TOKEN(x)

namespace chainrule::CHAINRULE_ISA {

void add_stages(Kernels<float>&);  // from stages.cpp
void add_stages(Kernels<double>&);

// The files in ops/, as CMake has found them.
#define NAMED(name)                                      \
    Operation<float>* operation_##name(const Record<float>&); \
    Operation<double>* operation_##name(const Record<double>&);
#include "ops.inc"
#undef NAMED

template <class T> Operation<T>* operation(const char* name, const Record<T>& record) {
#define NAMED(own) \
    if (!std::strcmp(name, #own)) return operation_##own(record);
#include "ops.inc"
#undef NAMED
    return nullptr;
}

template <class T> Kernels<T> make_table() {
    Kernels<T> k{};
    k.name = STRINGIFY(CHAINRULE_ISA);
    k.width = WIDTH<T>;
    k.operation = operation<T>;
    k.product = product;
    k.copy = copy<T>;
    k.gather = gather<T>;
    k.loss = loss<T>;
    add_stages(k);
    return k;
}

const Kernels<float>& table(float) {
    static const Kernels<float> kernels = make_table<float>();
    return kernels;
}
const Kernels<double>& table(double) {
    static const Kernels<double> kernels = make_table<double>();
    return kernels;
}

}  // namespace chainrule::CHAINRULE_ISA
