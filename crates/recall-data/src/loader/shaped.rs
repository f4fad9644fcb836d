//! Batches of images that keep their shapes.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::{Alike, Batch, BatchInputs, BatchRequest, CorruptPolicy, Inner, Skipped};
use crate::picture::Picture;
use crate::random::Key;
use crate::{DataError, ImageCache, ItemId};

/// Planar pixels with their height and width.
type Image = (Vec<u8>, [usize; 2]);

/// In which order the items of a batch come out.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Order {
    /// As they were asked for.
    AsAsked,
    /// Those of a shape one behind the other, as they were asked for among each other.
    ByShape,
}

impl Inner {
    /// Images of sizes that `apply` says. `None` if it was stopped.
    pub(super) fn load_shaped(
        &self,
        apply: impl Fn(&Picture<'_>, Key) -> Result<Image, DataError> + Sync,
        order: Order,
        request: &BatchRequest,
        part: Range<usize>,
        cache: Option<&ImageCache>,
        stop: &AtomicBool,
    ) -> Option<Result<Batch, DataError>> {
        let keys = self.keys(request, part.clone());
        let asked = &request.ids[part];
        let results: Vec<Option<Result<Image, DataError>>> = self.pool.install(|| {
            let load = |(&id, &key)| match stop.load(Ordering::Relaxed) {
                true => None,
                false => Some(self.load_image(id, cache, |picture| apply(picture, key))),
            };
            asked.par_iter().zip(&keys).map(load).collect()
        });
        let results: Vec<_> = results.into_iter().collect::<Option<_>>()?;
        let (mut loaded, mut skipped) = (Vec::<(ItemId, Image)>::new(), Vec::new());
        for (&id, result) in asked.iter().zip(results) {
            match (result, self.corrupt) {
                (Ok(image), _) => loaded.push((id, image)),
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
        if order == Order::ByShape {
            loaded.sort_by_key(|(_, (_, shape))| *shape);
        }
        let (ids, images): (Vec<_>, _) = loaded.into_iter().unzip();
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
