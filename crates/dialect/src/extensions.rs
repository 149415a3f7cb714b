//! Wishes that few dialects have words for, for encoders of the others.

use tollgate_chat::{Effect, Extension, LossKind, Losses, Wish};

use crate::Invalid;
use crate::fields::loss;

/// Records the wishes as lost.
///
/// # Errors
/// When an answer would be wrong without one.
pub(crate) fn lose_extensions(extensions: Vec<Extension>, losses: &mut Losses) -> Result<(), Invalid> {
    for Extension { origin, wish } in extensions {
        match wish {
            Wish::Safety(_) => losses.push(loss(origin, LossKind::UnknownField, Effect::Meaning)),
            Wish::MediaResolution(_) => losses.push(loss(origin, LossKind::Media, Effect::Cost)),
            Wish::ServerTool { name, options: _ } => {
                let message = format!("{origin}: the backend of this model has no tool {name:?}");
                return Err(Invalid::unprocessable(message, origin));
            }
        }
    }
    Ok(())
}
