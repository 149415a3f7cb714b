//! Types that are read by derive but for one thing: they keep the members that they do not know. `serde(flatten)` does so too, but holds
//! everything in between.

/// Reads `$type` by the names of its members, which may all be absent; others are kept in `rest`.
macro_rules! with_rest {
    ($type:ident {$($field:ident: $key:literal),+ $(,)?}) => {
        impl<'de> ::serde::Deserialize<'de> for $type {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Members;

                impl<'de> ::serde::de::Visitor<'de> for Members {
                    type Value = $type;

                    fn expecting(&self, formatter: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                        formatter.write_str(concat!("struct ", stringify!($type)))
                    }

                    fn visit_map<A>(self, mut access: A) -> Result<$type, A::Error>
                    where
                        A: ::serde::de::MapAccess<'de>,
                    {
                        let mut read = $type::default();
                        let mut rest = Vec::new();
                        while let Some(key) = access.next_key::<::tollgate_wire::json::Text>()? {
                            $(if key == $key {
                                if read.$field.is_some() {
                                    return Err(::serde::de::Error::duplicate_field($key));
                                }
                                read.$field = access.next_value()?;
                                continue;
                            })+
                            rest.push((key, access.next_value()?));
                        }
                        read.rest = rest.into();
                        Ok(read)
                    }
                }

                deserializer.deserialize_map(Members)
            }
        }
    };
}
pub(crate) use with_rest;
