use std::collections::HashMap;

/// Numbers names in the order in which they first come.
#[derive(Default)]
pub(super) struct Named {
    ids: HashMap<String, u32>,
}

impl Named {
    pub(super) fn id(&mut self, name: &str) -> u32 {
        if let Some(&id) = self.ids.get(name) {
            return id;
        }
        // A list of more than u32::MAX names would not have fitted into memory.
        let id = u32::try_from(self.ids.len()).unwrap_or(u32::MAX);
        self.ids.insert(name.to_owned(), id);
        id
    }

    /// The names, by their numbers.
    pub(super) fn names(self) -> Vec<String> {
        let mut names: Vec<(u32, String)> =
            self.ids.into_iter().map(|(name, id)| (id, name)).collect();
        names.sort_unstable();
        names.into_iter().map(|(_, name)| name).collect()
    }
}
