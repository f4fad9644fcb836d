//! Losses over rows of comparisons, on the host.
//!
//! Most losses are sums over rows of a matrix of similarities or distances: of items with each other, with a
//! memory, or with proxies. On a backend whose tensors lie in the host's memory such a loss is computed row
//! by row: a block of rows is one matrix product, each row is turned into its derivatives in place, and two
//! products bring these back to the embeddings. So nothing is as large as the whole matrix, unless
//! that is small, and what lies between the products is one pass over memory instead of a dozen.
//!
//! Columns are in the order of their classes, so a row's positives are neighbours and everything else is one
//! slice before them and one behind. Sums have a fixed order: threads change no bit.

mod arithmetic;
mod bins;
mod few;
mod pairs;
mod places;
mod row_loss;
mod sides;
mod spare;
mod square;
mod tensors;
#[cfg(test)]
mod tests;
mod turn;
mod unit;
mod walk;

pub(crate) use arithmetic::{LANES, dot, exp, greatest, lanes, log1p_exp, sum_exp};
pub(crate) use bins::{Bins, widened};
pub(crate) use few::Few;
pub(crate) use pairs::RowPairs;
pub(crate) use places::Place;
pub use places::Places;
pub(crate) use row_loss::{Chosen, Measure, RowLoss, Term};
pub(crate) use sides::{Found, Sides, squared_distance};
pub(crate) use tensors::{Side, host_values, of_some, of_values, rows, with_host_gradients};
pub(crate) use walk::{finish, walk};

/// Whether rows on the host are what suits the backend: its tensors are there, in single precision.
pub(crate) fn suit<B: recall_loss::RecallBackend>(dtype: burn::tensor::DType) -> bool {
    B::on_host() && dtype == burn::tensor::DType::F32
}
