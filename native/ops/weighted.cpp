// Weighted sums of positions, for each channel on its own: average pooling, upsampling and zero
// padding, as in layers/resizing.py.
//
// Settings: first, inputs, weights: output o is the sum of the inputs at the positions from first[o]
// to first[o + 1] times their weights.
#include <cstring>

#include "../operation.h"
#include "../vector.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct Weighted : Operation<T> {
    const Value<T>&x, &y;
    List<int64_t> first, inputs;
    List<double> weights;
    long outputs;
    bool wants_input;
    explicit Weighted(const Record<T>& r)
        : x(r.input()), y(r.output()), first(r.whole_numbers("first")), inputs(r.whole_numbers("inputs")),
          weights(r.numbers("weights")), outputs(first.count - 1), wants_input(r.wants()) {
        require(outputs == y.rows && x.width == y.width, "there must be a sum for each output");
        require(first.data[0] == 0 && first.data[outputs] == inputs.count && inputs.count == weights.count,
                "each input of the list needs a weight");
        for (long o = 0; o < outputs; ++o) require(first.data[o] <= first.data[o + 1], "sums must follow each other");
        for (long k = 0; k < inputs.count; ++k)
            require(0 <= inputs.data[k] && inputs.data[k] < x.rows, "a sum has an input that does not exist");
    }

    void forward(const Pass<T>& p) override {
        const Range own = p.rows(y);
        for (long row = own.from; row < own.to; ++row) {
            const long o = row % outputs;
            const T* from = x.value + row / outputs * x.rows * x.ld;
            T* to = y.value + row * y.ld;
            over<T>(y.width, [&](long c, auto get, auto put) {
                Vec<T> sum = {};
                for (long k = first.data[o]; k < first.data[o + 1]; ++k)
                    sum += get(from + inputs.data[k] * x.ld + c) * T(weights.data[k]);
                put(to + c, sum);
            });
        }
    }
    void backward(const Pass<T>& p) override {
        if (!wants_input) return;
        const Range own = p.share(p.samples, 1);
        for (long sample = own.from; sample < own.to; ++sample) {
            T* to = x.gradient + sample * x.rows * x.ld;
            std::memset(to, 0, size_t(x.rows * x.ld) * sizeof(T));
            for (long o = 0; o < outputs; ++o) {
                const T* arriving = y.gradient + (sample * outputs + o) * y.ld;
                over<T>(y.width, [&](long c, auto get, auto put) {
                    const Vec<T> here = get(arriving + c);
                    for (long k = first.data[o]; k < first.data[o + 1]; ++k) {
                        T* const at = to + inputs.data[k] * x.ld + c;
                        put(at, get(at) + here * T(weights.data[k]));
                    }
                });
            }
        }
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(weighted, Weighted)
