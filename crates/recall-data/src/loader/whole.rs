//! Batches of images that keep their shapes.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::{Alike, Batch, BatchInputs, BatchRequest, CorruptPolicy, Inner, Skipped};
use crate::{DataError, ImageCache, WholeTransform};

/// Planar pixels with their height and width.
type Image = (Vec<u8>, [usize; 2]);

impl Inner {
    /// `None` if it was stopped.
    pub(super) fn load_whole(
        &self,
        transform: &WholeTransform,
        request: &BatchRequest,
        part: Range<usize>,
        cache: Option<&ImageCache>,
        stop: &AtomicBool,
    ) -> Option<Result<Batch, DataError>> {
        let asked = &request.ids[part];
        let results: Vec<Option<Result<Image, DataError>>> = self.pool.install(|| {
            let load = |&id| match stop.load(Ordering::Relaxed) {
                true => None,
                false => Some(self.load_image(id, cache, |picture| transform.pixels(picture))),
            };
            asked.par_iter().map(load).collect()
        });
        let results: Vec<_> = results.into_iter().collect::<Option<_>>()?;
        let (mut ids, mut images, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
        for (&id, result) in asked.iter().zip(results) {
            match (result, self.corrupt) {
                (Ok(image), _) => {
                    ids.push(id);
                    images.push(image);
                }
                (
                    Err(error @ (DataError::Decode { .. } | DataError::Io { .. })),
                    CorruptPolicy::Skip,
                ) => skipped.push(Skipped {
                    id,
                    problem: error.to_string(),
                }),
                (Err(error), _) => return Some(Err(error)),
            }
        }
        Some(Ok(Batch {
            labels: self.dataset.labels(&ids),
            ids,
            inputs: BatchInputs::Shapes(alike(images)),
            skipped,
        }))
    }
}

/// Images by their shapes, in the order in which these come up.
fn alike(images: Vec<Image>) -> Vec<Alike> {
    let mut groups: Vec<Alike> = Vec::new();
    for (place, (bytes, [height, width])) in images.into_iter().enumerate() {
        let same = |group: &&mut Alike| group.shape[2..] == [height, width];
        match groups.iter_mut().find(same) {
            Some(group) => {
                group.places.push(place);
                group.bytes.extend(bytes);
                group.shape[0] += 1;
            }
            None => groups.push(Alike {
                places: vec![place],
                bytes,
                shape: [1, 3, height, width],
            }),
        }
    }
    groups
}
