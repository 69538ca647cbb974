// The kernel table of one instruction set: this file is compiled once for each, with its flags.
#include "kernels.h"

#include "activations.h"
#include "dense.h"
#include "dropout.h"
#include "embedding.h"
#include "expand.h"
#include "losses.h"
#include "normalization.h"
#include "shaping.h"
#include "softmax.h"

#define STRINGIFY_TOKEN(x) #x
#define STRINGIFY(x) STRINGIFY_TOKEN(x)

namespace chainrule::CHAINRULE_ISA {

void add_stages(Kernels<float>&);  // from stages.cpp
void add_stages(Kernels<double>&);

template <class T> Kernels<T> make_table() {
    Kernels<T> k{};
    k.name = STRINGIFY(CHAINRULE_ISA);
    k.width = WIDTH<T>;
    k.product = product<T>;
    k.column_sums = column_sums<T>;
    k.activate = activate<T>;
    k.activate_back = activate_back<T>;
    k.prelu = prelu<T>;
    k.prelu_back = prelu_back<T>;
    k.softmax = softmax<T>;
    k.softmax_back = softmax_back<T>;
    k.batch_norm = batch_norm<T>;
    k.batch_norm_back = batch_norm_back<T>;
    k.layer_norm = layer_norm<T>;
    k.layer_norm_back = layer_norm_back<T>;
    k.keep_mask = keep_mask<T>;
    k.embedding = embedding<T>;
    k.embedding_back = embedding_back<T>;
    k.expand = expand<T>;
    k.expand_back = expand_back<T>;
    k.expand_input = expand_input<T>;
    k.copy = copy<T>;
    k.gather = gather<T>;
    k.add = add<T>;
    k.multiply = multiply<T>;
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
