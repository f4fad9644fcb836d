//! Where in a row is what.

use std::ops::Range;

/// The columns of a row. All others are of other classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Those of its own class.
    pub class: Range<usize>,
    /// The one among them that is the row's own item, if it is there.
    pub own: Option<usize>,
}

impl Place {
    /// The columns of its class but its own.
    pub fn positives(&self) -> impl Iterator<Item = usize> + Clone + use<> {
        let own = self.own;
        self.class
            .clone()
            .filter(move |&column| Some(column) != own)
    }

    /// How many there are.
    pub fn positive_count(&self) -> usize {
        self.class.len() - usize::from(self.own.is_some())
    }

    /// The columns of other classes, of `columns` in all: those before its class and those behind.
    pub fn negatives(&self, columns: usize) -> [Range<usize>; 2] {
        [0..self.class.start, self.class.end..columns]
    }

    /// How many there are.
    pub fn negative_count(&self, columns: usize) -> usize {
        columns - self.class.len()
    }
}

/// What is compared with what: rows are queries, columns references, both in the order of their classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Which query each row is.
    pub(crate) queries: Vec<usize>,
    /// Which reference each column is.
    pub(crate) references: Vec<usize>,
    /// The columns of each row.
    pub(crate) rows: Vec<Place>,
    /// Whether queries and references are the same items: rows and columns have one order then.
    pub(crate) same: bool,
    /// Whether references have no gradient, so that none is computed.
    pub(crate) constant: bool,
}

impl Places {
    /// A batch compared with itself.
    pub fn within(labels: &[i64]) -> Self {
        let order = by_label(labels);
        let rows = order.iter().enumerate().map(|(place, &item)| Place {
            class: class(&order, labels, labels[item]),
            own: Some(place),
        });
        Self {
            rows: rows.collect(),
            queries: order.clone(),
            references: order,
            same: true,
            constant: false,
        }
    }

    /// Queries compared with other items. `own` has, for each query, the reference that is the query itself.
    pub fn between(queries: &[i64], references: &[i64], own: &[Option<usize>]) -> Self {
        let (order, columns) = (by_label(queries), by_label(references));
        let mut position = vec![0; references.len()];
        for (place, &reference) in columns.iter().enumerate() {
            position[reference] = place;
        }
        let rows = order.iter().map(|&query| Place {
            class: class(&columns, references, queries[query]),
            own: own[query].map(|own| position[own]),
        });
        Self {
            rows: rows.collect(),
            queries: order,
            references: columns,
            same: false,
            constant: false,
        }
    }

    /// The same for references without gradient, a memory, which saves a third of the work.
    pub fn with_constant_references(self) -> Self {
        Self {
            constant: !self.same,
            ..self
        }
    }

    /// Items compared with `each` vectors of each of `classes` classes, which are the labels.
    pub(crate) fn with_proxies(labels: &[i64], classes: usize, each: usize) -> Self {
        let rows = labels.iter().map(|&label| Place {
            class: label as usize * each..(label as usize + 1) * each,
            own: None,
        });
        Self {
            rows: rows.collect(),
            queries: (0..labels.len()).collect(),
            references: (0..classes * each).collect(),
            same: false,
            constant: false,
        }
    }

    /// One vector of each of `classes` classes compared with items.
    pub(crate) fn of_proxies(classes: usize, labels: &[i64]) -> Self {
        let columns = by_label(labels);
        let rows = (0..classes).map(|label| Place {
            class: class(&columns, labels, label as i64),
            own: None,
        });
        Self {
            rows: rows.collect(),
            queries: (0..classes).collect(),
            references: columns,
            same: false,
            constant: false,
        }
    }

    /// Whether any row has a positive.
    pub(crate) fn have_positives(&self) -> bool {
        self.rows.iter().any(|row| row.positive_count() > 0)
    }

    /// Whether any row that has a positive has a negative, too.
    pub(crate) fn have_triplets(&self) -> bool {
        let columns = self.references.len();
        let mut rows = self.rows.iter();
        rows.any(|row| row.positive_count() > 0 && row.negative_count(columns) > 0)
    }
}

/// Items in the order of their labels, those of a class in their own.
fn by_label(labels: &[i64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_by_key(|&item| labels[item]);
    order
}

/// Where a label is in an order by labels.
fn class(order: &[usize], labels: &[i64], label: i64) -> Range<usize> {
    let start = order.partition_point(|&item| labels[item] < label);
    let end = order.partition_point(|&item| labels[item] <= label);
    start..end
}
