// A causal convolution along one axis, as in layers/convolution.py, for texts that are continued (see
// Pass::position): each sample is one new position, and the inputs that later windows read are kept.
//
// Settings: kernel: the places of a window; dilation: the positions from one to the next; texts: how many
// there are; length: the most positions of a text in a pass.
#include <cstring>

#include "../operation.h"
#include "../product.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct ContinuedConv : Operation<T> {
    const Value<T>&x, &y;
    long kernel, dilation, texts, length;
    long before;  // positions that a window reads before its own
    long W, b;    // b < 0: no bias
    T* inputs;    // of each text: those before the new positions, then the new ones
    explicit ContinuedConv(const Record<T>& r)
        : x(r.input()), y(r.output()), kernel(long(r.number("kernel"))), dilation(long(r.number("dilation"))),
          texts(long(r.number("texts"))), length(long(r.number("length"))), before((kernel - 1) * dilation),
          W(r.parameter("W", kernel * x.width * y.width)), b(r.has_parameter("b") ? r.parameter("b", y.width) : -1) {
        require(kernel > 0 && dilation > 0 && texts > 0 && length > 0, "a window has places, a text positions");
        require(x.rows == 1 && y.rows == 1, "a sample is one position");
        inputs = r.memory(texts * (before + length) * x.width);
    }

    long scratch() const override { return BLOCK * kernel * x.width; }

    void forward(const Pass<T>& p) override {
        const long count = p.samples / texts;
        if (p.samples % texts || count > length) return p.report_invalid();
        const Range own = p.share(texts, 1);
        for (long text = own.from; text < own.to; ++text) {
            T* const rows = inputs + text * (before + length) * x.width;
            const size_t size = size_t(x.width) * sizeof(T);
            if (p.step == 0) std::memset(rows, 0, size_t(before) * size);
            for (long i = 0; i < count; ++i)
                std::memcpy(rows + (before + i) * x.width, x.value + (text * count + i) * x.ld, size);
            for (long from = 0; from < count; from += BLOCK)
                convolve(p, rows + from * x.width, text * count + from, count - from < BLOCK ? count - from : BLOCK);
            std::memmove(rows, rows + count * x.width, size_t(before) * size);
        }
    }

  private:
    static constexpr long BLOCK = 32;  // windows, side by side in the scratch

    void convolve(const Pass<T>& p, const T* rows, long first, long count) const {
        const long width = kernel * x.width;
        for (long i = 0; i < count; ++i)
            for (long k = 0; k < kernel; ++k)
                std::memcpy(p.scratch + i * width + k * x.width, rows + (i + k * dilation) * x.width,
                            size_t(x.width) * sizeof(T));
        Product<T> work{count, y.width, width, p.scratch, width, 1, p.w + W, y.width, 1, y.value + first * y.ld, y.ld};
        work.bias = b < 0 ? nullptr : p.w + b;
        work.whole = false;
        work.pack = p.pack;
        product(work);
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(continued_conv, ContinuedConv)
