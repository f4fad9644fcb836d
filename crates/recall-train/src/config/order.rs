//! The fields of a struct in their order, which its schema does not keep, as serde has them.

use serde::de::value::{Error, MapAccessDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

/// The fields of the part `section` of `T`, in its struct; the empty name is that of the whole.
pub(super) fn fields<T: for<'de> Deserialize<'de>>(section: &str) -> &'static [&'static str] {
    let mut found: &'static [&'static str] = &[];
    let path: Vec<&str> = section.split('.').filter(|key| !key.is_empty()).collect();
    // It never gives a value, only the way to the struct.
    let _ = T::deserialize(Probe {
        path: &path,
        found: &mut found,
    });
    found
}

/// Asks for the struct at the end of a path.
struct Probe<'a> {
    path: &'a [&'a str],
    found: &'a mut &'static [&'static str],
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("no struct"))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.path {
            [] => {
                *self.found = fields;
                Err(Error::custom("found"))
            }
            _ => MapAccessDeserializer::new(self).deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The first key of the path alone.
impl<'de> MapAccess<'de> for Probe<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let key = StrDeserializer::<Error>::new(self.path[0]);
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(Probe {
            path: &self.path[1..],
            found: self.found,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::all;
    use super::super::{RunConfig, keys};
    use super::*;

    /// Nothing that serde reads is missing in the schema.
    #[test]
    fn the_schema_has_the_fields_of_each_struct() {
        let parts = all().into_iter().filter(|of| of.part().is_some());
        for section in parts.map(|of| of.name.as_str()).chain([""]) {
            let mut fields = fields::<RunConfig>(section).to_vec();
            fields.sort_unstable();
            assert_eq!(Some(fields), keys::within(section), "[{section}]");
        }
    }
}
