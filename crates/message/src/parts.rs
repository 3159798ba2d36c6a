//! The parts of a message for those who only read it: in the order they stand, with what their header sections say of them.
//!
//! Takes plain form. What is not clear is taken as most readers would: nothing is changed by it. Who changes content part by part
//! asks `mime`, which refuses what readers differ about.

use mail_parser::{MessageParser, MimeHeaders, PartType};

/// One part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartView {
    /// The part it stands in, by its place in the list; none for the message itself.
    pub parent: Option<usize>,
    /// The media type, lower case; `text/plain` if it says none.
    pub media_type: String,
    /// The charset, if it says one.
    pub charset: Option<String>,
    /// It is an attachment.
    pub is_attachment: bool,
    /// The name of its file.
    pub filename: Option<String>,
    /// It has parts itself.
    pub is_container: bool,
    /// The text in UTF-8, if it is text.
    pub text: Option<String>,
}

/// The parts of a message, the message first; none if it cannot be read at all.
pub fn read(plain: &[u8]) -> Vec<PartView> {
    let Some(message) = MessageParser::default().parse(plain) else { return Vec::new() };
    let mut parts: Vec<PartView> = message.parts.iter().map(view).collect();
    for (place, part) in message.parts.iter().enumerate() {
        if let PartType::Multipart(children) = &part.body {
            for &child in children {
                if let Some(child) = parts.get_mut(child as usize) {
                    child.parent = Some(place);
                }
            }
        }
    }
    parts
}

fn view(part: &mail_parser::MessagePart<'_>) -> PartView {
    let content_type = part.content_type();
    let media_type = content_type.map_or_else(
        || "text/plain".to_owned(),
        |of| format!("{}/{}", of.c_type, of.c_subtype.as_deref().unwrap_or("")).to_ascii_lowercase(),
    );
    PartView {
        parent: None,
        media_type,
        charset: content_type.and_then(|of| of.attribute("charset")).map(str::to_owned),
        is_attachment: part.content_disposition().is_some_and(|how| how.is_attachment()),
        filename: part.attachment_name().map(str::to_owned),
        is_container: matches!(part.body, PartType::Multipart(_)),
        text: match &part.body {
            PartType::Text(text) | PartType::Html(text) => Some(text.to_string()),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stand_in_order_with_their_texts() {
        let plain =
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\
            Content-Transfer-Encoding: quoted-printable\r\n\r\ncaf=E9\r\n--b\r\nContent-Type: application/pdf\r\n\
            Content-Disposition: attachment; filename=\"x.pdf\"\r\n\r\n%PDF\r\n--b--\r\n";
        let parts = read(plain);
        assert_eq!(parts.len(), 3);
        assert!(parts[0].is_container && parts[0].media_type == "multipart/mixed" && parts[0].parent.is_none());
        assert_eq!(parts[1].text.as_deref().map(str::trim_end), Some("café"));
        assert_eq!((parts[1].parent, parts[1].charset.as_deref()), (Some(0), Some("iso-8859-1")));
        assert!(parts[2].is_attachment && parts[2].filename.as_deref() == Some("x.pdf") && parts[2].text.is_none());
        assert_eq!(read(b"Subject: x\r\n\r\nhello\r\n")[0].media_type, "text/plain");
    }
}
