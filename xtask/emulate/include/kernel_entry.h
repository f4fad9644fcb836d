// How the driver calls a kernel whose parameters only the kernel's own source knows.
#pragma once
#include <string.h>

#include <type_traits>
#include <utility>

#include "emulate.h"

// Where CubeCL's info says how long the buffers are, if a type is such an info.
template <class T, class = void> struct EmulateLengths {
    EMULATE_UNCHECKED static void describe(EmulateParameter &) {}
};
template <class T> struct EmulateLengths<T, decltype(void(T::static_meta))> {
    EMULATE_UNCHECKED static void describe(EmulateParameter &parameter) {
        parameter.lengths_at = offsetof(T, static_meta);
        parameter.length_size = sizeof(T::static_meta[0]);
        parameter.lengths = sizeof(T::static_meta) / sizeof(T::static_meta[0]);
    }
};

template <class T> struct EmulatePointee {
    static size_t size() { return 0; }
};
template <class T> struct EmulatePointee<T *> {
    static size_t size() { return sizeof(T); }
};

template <class F> struct EmulateKernel;
template <class... A> struct EmulateKernel<void (*)(A...)> {
    template <class T> using Plain = typename std::remove_cv<typename std::remove_reference<T>::type>::type;

    template <size_t... I>
    EMULATE_UNCHECKED static void call(void (*kernel)(A...), void **values, std::index_sequence<I...>) {
        kernel(*reinterpret_cast<Plain<A> *>(values[I])...);
    }
    EMULATE_UNCHECKED static void call(void (*kernel)(A...), void **values) {
        call(kernel, values, std::index_sequence_for<A...>{});
    }

    template <class T> EMULATE_UNCHECKED static void describe(EmulateParameter &parameter) {
        parameter = EmulateParameter{sizeof(T), EmulatePointee<T>::size(), 0, 0, 0};
        EmulateLengths<T>::describe(parameter);
    }
    EMULATE_UNCHECKED static size_t describe(EmulateParameter *parameters, size_t most) {
        size_t count = 0;
        if (sizeof...(A) <= most) (void)std::initializer_list<int>{(describe<Plain<A>>(parameters[count++]), 0)...};
        return count;
    }
};

// Constants of a kernel lie in its library.
extern "C" __attribute__((visibility("hidden"))) const char __ehdr_start, _end;

// The driver appends this to a kernel's source.
#define EMULATE_ENTRY(kernel)                                                                     \
    extern "C" EMULATE_UNCHECKED void emulate_call(void **values) {                               \
        EmulateKernel<decltype(&kernel)>::call(&kernel, values);                                  \
    }                                                                                             \
    extern "C" EMULATE_UNCHECKED size_t emulate_describe(EmulateParameter *parameters, size_t most) {               \
        return EmulateKernel<decltype(&kernel)>::describe(parameters, most);                      \
    }                                                                                             \
    extern "C" EMULATE_UNCHECKED void emulate_image(const char **start, const char **end) {                         \
        *start = &__ehdr_start;                                                                   \
        *end = &_end;                                                                             \
    }
