// What operations share, compiled once.
#include "operation.h"

#include <atomic>
#include <stdexcept>

namespace chainrule {

Settings::~Settings() = default;

void require(bool condition, const char* message) {
    if (!condition) throw std::invalid_argument(message);
}

template <class T> GradientSink<T>::~GradientSink() = default;
template <class T> Operation<T>::~Operation() = default;
template <class T> void Pass<T>::report_invalid() const { *static_cast<std::atomic<bool>*>(invalid) = true; }

template struct GradientSink<float>;
template struct GradientSink<double>;
template struct Pass<float>;
template struct Pass<double>;
template struct Operation<float>;
template struct Operation<double>;

}  // namespace chainrule
