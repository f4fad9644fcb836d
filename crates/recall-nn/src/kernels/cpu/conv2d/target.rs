use std::mem::MaybeUninit;

use pulp::bytemuck::Pod;

/// Memory that several threads fill, each its own part of it.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pointer: *mut f32,
    len: usize,
}

#[expect(
    unsafe_code,
    reason = "a pointer goes to the threads that write through it"
)]
// SAFETY: the methods that use the pointer are unsafe, and ask that no two threads touch one place.
unsafe impl Send for Target {}
#[expect(
    unsafe_code,
    reason = "a pointer goes to the threads that write through it"
)]
// SAFETY: as above.
unsafe impl Sync for Target {}

impl Target {
    /// The memory of `values`, which has to outlive what is done with the target.
    pub(super) fn new(values: &mut [MaybeUninit<f32>]) -> Self {
        Self {
            pointer: values.as_mut_ptr().cast(),
            len: values.len(),
        }
    }

    /// The `V` at `offset`, a number or a vector of them.
    ///
    /// # Safety
    ///
    /// The memory is alive, `offset` and what a `V` covers from there lies within it, was stored
    /// before, and is stored to by no other thread meanwhile.
    #[expect(unsafe_code, reason = "the memory is shared by threads")]
    #[inline(always)]
    pub(super) unsafe fn load<V: Pod>(self, offset: usize) -> V {
        debug_assert!(offset + size_of::<V>() / size_of::<f32>() <= self.len);
        // SAFETY: in bounds, initialised and not written meanwhile, as the caller vouches.
        unsafe { self.pointer.add(offset).cast::<V>().read_unaligned() }
    }

    /// Stores a number or a vector of them at `offset`.
    ///
    /// # Safety
    ///
    /// The memory is alive, `offset` and what a `V` covers from there lies within it, and is used
    /// by no other thread meanwhile.
    #[expect(unsafe_code, reason = "the memory is shared by threads")]
    #[inline(always)]
    pub(super) unsafe fn store<V: Pod>(self, offset: usize, values: V) {
        debug_assert!(offset + size_of::<V>() / size_of::<f32>() <= self.len);
        // SAFETY: in bounds and used by this thread alone, as the caller vouches.
        unsafe { self.pointer.add(offset).cast::<V>().write_unaligned(values) }
    }
}
