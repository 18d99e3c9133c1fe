//! Markdown as HTML, for the documents of `static/docs/`.
//!
//! The text has to read well where nothing of this is done, so what is added is small: headings get the ids that GitHub
//! gives them, links and pictures lead to our pages, and who has values of their own sees them in the place of the
//! examples. HTML in the text is shown as it stands there, but for the [markers](MARK) around values.

use std::collections::BTreeMap;
use std::fmt::Write;

use minijinja::HtmlEscape;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd, html};

use super::html::encoded;

/// Where the examples are. In code and in links it is replaced by the server's own origin.
pub(super) const EXAMPLE: &str = "https://rollcall.example.org";

/// Where the example's tenant is named: in commands, and in addresses.
const EXAMPLE_TENANT: (&str, [&str; 2]) = (
    "--tenant contoso",
    ["/sso/start/contoso", "/sso/logout/contoso"],
);

/// `<!--=NAME-->what is so at first<!--/-->`: comments, which no reader of the Markdown sees.
const MARK: (&str, &str) = ("<!--=", "-->");

/// Ends what a marker began.
const MARK_END: &str = "<!--/-->";

/// What replaces the examples.
#[derive(Debug, Default)]
pub(super) struct Values {
    /// Scheme and host of this server.
    pub(super) origin: String,
    /// The tenant's name.
    pub(super) tenant: String,
    /// In the place of what is marked by these names.
    pub(super) marked: BTreeMap<&'static str, Marked>,
}

/// What replaces something that is marked.
#[derive(Debug)]
pub(super) enum Marked {
    /// Some words.
    Words(String),
    /// The rows of a table whose first column is code, under its head.
    Rows([&'static str; 2], Vec<(String, String)>),
}

/// A heading of the second or third level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heading {
    pub(super) level: u8,
    /// Where links find it.
    pub(super) id: String,
    pub(super) text: String,
    /// What is quoted under it, up to the next heading.
    pub(super) quotes: Vec<String>,
}

/// A text, read.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// Its first line, without `#`.
    pub(super) title: String,
    /// The first sentence.
    pub(super) about: String,
    pub(super) headings: Vec<Heading>,
    pub(super) html: String,
}

/// What scrolls by itself where it is too wide, also by the keyboard.
const SCROLLS: &str = "<div class=\"wide\" tabindex=\"0\" role=\"group\" \
     aria-label=\"Table, scrolls sideways in small windows\">";

/// Reads `text`; `size` tells a picture's width and height.
pub(super) fn read(
    text: &str,
    values: Option<&Values>,
    size: impl Fn(&str) -> Option<(u32, u32)>,
) -> Document {
    let options = Options::ENABLE_TABLES | Options::ENABLE_GFM;
    let events: Vec<Event<'_>> = Parser::new_ext(text, options).collect();
    let own = |text: &str| values.map_or_else(|| text.to_owned(), |values| values.fill(text));
    let mut read = Document::default();
    let mut out = vec![];
    let mut codes = 0;
    let mut at = 0;
    while let Some(event) = events.get(at) {
        let inner = inside(&events, at);
        let mut next = at + 1;
        match event {
            Event::Start(Tag::Heading { level, .. }) if *level as u8 == 1 => {
                read.title = plain(inner);
                next = at + inner.len() + 2;
            }
            Event::Start(Tag::Heading { level, .. }) => {
                let heading = heading(*level as u8, plain(inner), &read.headings);
                out.push(Event::Start(Tag::Heading {
                    level: *level,
                    id: Some(heading.id.clone().into()),
                    classes: vec![],
                    attrs: vec![],
                }));
                read.headings.push(heading);
            }
            Event::Start(Tag::CodeBlock(_)) => {
                codes += 1;
                out.push(Event::Html(code_block(codes, &own(&plain(inner))).into()));
                next = at + inner.len() + 2;
            }
            Event::Start(Tag::Image { dest_url, .. }) => {
                let size = size(dest_url).unwrap_or_default();
                out.push(Event::InlineHtml(
                    picture(dest_url, &plain(inner), size).into(),
                ));
                next = at + inner.len() + 2;
            }
            Event::Start(Tag::Link {
                link_type,
                dest_url,
                title,
                id,
            }) => {
                out.push(Event::Start(Tag::Link {
                    link_type: *link_type,
                    dest_url: address(dest_url).into(),
                    title: title.clone(),
                    id: id.clone(),
                }));
            }
            Event::Start(Tag::Table(_)) => {
                out.push(Event::Html(SCROLLS.into()));
                out.push(event.clone());
            }
            Event::End(TagEnd::Table) => {
                out.push(event.clone());
                out.push(Event::Html("</div>\n".into()));
            }
            Event::Code(code) => out.push(Event::Code(own(code).into())),
            Event::Html(html) | Event::InlineHtml(html) => match marker(html) {
                Some(Marker::Begin(name)) => {
                    let value = values.and_then(|values| values.marked.get(name));
                    if let Some(value) = value {
                        value.show(&mut out);
                        next = end_of_mark(&events, at);
                    }
                }
                Some(Marker::End) => {}
                None => out.push(Event::Text(html.clone())),
            },
            Event::Start(Tag::BlockQuote(_)) => {
                if let Some(heading) = read.headings.last_mut() {
                    heading
                        .quotes
                        .extend(plain(inner).lines().map(str::to_owned));
                }
                out.push(event.clone());
            }
            Event::Start(Tag::Paragraph) if read.about.is_empty() => {
                let text = plain(inner);
                let end = text.find(". ").map_or(text.len(), |at| at + 1);
                text[..end].clone_into(&mut read.about);
                out.push(event.clone());
            }
            _ => out.push(event.clone()),
        }
        at = next;
    }
    html::push_html(&mut read.html, out.into_iter());
    read
}

/// What is between the start at `at` and its end; nothing where no start is.
fn inside<'e, 'a>(events: &'e [Event<'a>], at: usize) -> &'e [Event<'a>] {
    if !matches!(events[at], Event::Start(_)) {
        return &[];
    }
    let inner = &events[at + 1..];
    let mut depth = 0;
    for (length, event) in inner.iter().enumerate() {
        match event {
            Event::Start(_) => depth += 1,
            Event::End(_) if depth == 0 => return &inner[..length],
            Event::End(_) => depth -= 1,
            _ => {}
        }
    }
    inner
}

/// The words alone, a paragraph a line.
fn plain(events: &[Event<'_>]) -> String {
    let mut text = String::new();
    for event in events {
        match event {
            Event::Text(part) | Event::Code(part) => text.push_str(part),
            Event::SoftBreak | Event::HardBreak => text.push(' '),
            Event::End(TagEnd::Paragraph) => text.push('\n'),
            _ => {}
        }
    }
    text.trim_end().to_owned()
}

fn heading(level: u8, text: String, before: &[Heading]) -> Heading {
    let slug = slug(&text);
    let mut id = slug.clone();
    for count in 1.. {
        if before.iter().all(|known| known.id != id) {
            break;
        }
        id = format!("{slug}-{count}");
    }
    Heading {
        level,
        id,
        text,
        quotes: vec![],
    }
}

/// The id that GitHub makes of a heading.
fn slug(text: &str) -> String {
    text.to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        })
        .collect()
}

/// Scrolls where a line is too long, and can be copied.
fn code_block(number: usize, text: &str) -> String {
    format!(
        "<div class=\"code\"><pre id=\"code-{number}\" tabindex=\"0\">{}</pre>\n\
         <button type=\"button\" class=\"quiet js\" data-copy=\"code-{number}\">Copy</button>\
         <span class=\"copied\" role=\"status\"></span></div>\n",
        HtmlEscape(text)
    )
}

fn picture(file: &str, alt: &str, (width, height): (u32, u32)) -> String {
    format!(
        "<img src=\"/docs/{}\" alt=\"{}\" width=\"{width}\" height=\"{height}\" loading=\"lazy\">",
        HtmlEscape(file),
        HtmlEscape(alt)
    )
}

/// Where a link leads: `okta.md#x` to that page, the example's server to this one, `#x` and others as they are.
fn address(link: &str) -> String {
    if let Some(path) = link.strip_prefix(EXAMPLE) {
        return path.to_owned();
    }
    let (file, anchor) = link.find('#').map_or((link, ""), |at| link.split_at(at));
    match file.strip_suffix(".md") {
        Some(name) if !name.contains(['/', ':']) => format!("/docs/{name}{anchor}"),
        _ => link.to_owned(),
    }
}

enum Marker<'t> {
    Begin(&'t str),
    End,
}

fn marker(html: &str) -> Option<Marker<'_>> {
    let html = html.trim();
    if html == MARK_END {
        return Some(Marker::End);
    }
    let name = html.strip_prefix(MARK.0)?.strip_suffix(MARK.1)?;
    Some(Marker::Begin(name))
}

/// Where what a marker began has ended: the blocks around the markers are left as they are.
fn end_of_mark(events: &[Event<'_>], at: usize) -> usize {
    let ends = |event: &Event<'_>| match event {
        Event::Html(html) | Event::InlineHtml(html) => matches!(marker(html), Some(Marker::End)),
        _ => false,
    };
    let rest = events[at..].iter().position(ends);
    rest.map_or(events.len(), |length| at + length)
}

impl Values {
    fn fill(&self, text: &str) -> String {
        let (command, addresses) = EXAMPLE_TENANT;
        let own = format!("--tenant {}", in_shell(&self.tenant));
        let mut text = text.replace(EXAMPLE, &self.origin).replace(command, &own);
        for address in addresses {
            let (path, _) = address.rsplit_once('/').unwrap_or_default();
            text = text.replace(address, &format!("{path}/{}", encoded(&self.tenant)));
        }
        text
    }
}

/// As a shell takes it for one word.
fn in_shell(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || ['-', '_', '.'].contains(&c);
    match !name.is_empty() && name.chars().all(plain) {
        true => name.to_owned(),
        false => format!("'{}'", name.replace('\'', "'\\''")),
    }
}

impl Marked {
    fn show(&self, out: &mut Vec<Event<'_>>) {
        match self {
            Marked::Words(words) => out.push(Event::Text(words.clone().into())),
            Marked::Rows(head, rows) => {
                let mut html = format!(
                    "{SCROLLS}<table><thead><tr><th>{}</th><th>{}</th></tr></thead><tbody>\n",
                    HtmlEscape(head[0]),
                    HtmlEscape(head[1])
                );
                for (code, words) in rows {
                    let (code, words) = (HtmlEscape(code), HtmlEscape(words));
                    // Writing to a String never fails.
                    let _ = writeln!(
                        html,
                        "<tr><td><code>{code}</code></td><td>{words}</td></tr>"
                    );
                }
                html.push_str("</tbody></table></div>\n");
                out.push(Event::Html(html.into()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, values: Option<&Values>) -> String {
        read(text, values, |file| (file == "a.svg").then_some((640, 256))).html
    }

    #[test]
    fn what_is_read_of_a_document() {
        let text = "# A *title*\n\nFirst words. More.\n\n## One & two?\n\n> Said `x`.\n>\n> Again.\n\n### One & two?\n";
        let read = read(text, None, |_| None);
        assert_eq!(
            (read.title.as_str(), read.about.as_str()),
            ("A title", "First words.")
        );
        let [one, two] = &read.headings[..] else {
            panic!("{read:?}")
        };
        assert_eq!(
            (one.level, one.id.as_str(), one.text.as_str()),
            (2, "one--two", "One & two?")
        );
        assert_eq!((two.level, two.id.as_str()), (3, "one--two-1"));
        assert_eq!(one.quotes, ["Said x.", "Again."]);
        assert!(!read.html.contains("title"), "{}", read.html);
        assert!(
            read.html
                .contains("<h2 id=\"one--two\">One &amp; two?</h2>"),
            "{}",
            read.html
        );
    }

    #[test]
    fn html_in_a_text_is_shown_as_it_stands_there() {
        for text in [
            "<script>alert(1)</script>",
            "a <b onclick=x>b</b>",
            "<!-- --><img src=x>",
            "<div>\n\n*a*\n\n</div>",
        ] {
            let html = shown(text, Some(&Values::default()));
            for tag in ["<script", "<b", "<img", "<div", "<!--"] {
                assert!(!html.contains(tag), "{html}");
            }
            assert!(html.contains("&lt;"), "{html}");
        }
        let html = shown("![<i>\"](\"a.svg)\n\n```\n<i>\n```\n", None);
        assert!(!html.contains("<i>") && !html.contains("\"\""), "{html}");
    }

    #[test]
    fn links_and_pictures_lead_to_our_pages() {
        for (link, to) in [
            ("okta.md", "/docs/okta"),
            ("okta.md#a-b", "/docs/okta#a-b"),
            ("#a", "#a"),
            ("https://rollcall.example.org/settings/log", "/settings/log"),
            (
                "https://elsewhere.example/x.md",
                "https://elsewhere.example/x.md",
            ),
        ] {
            assert_eq!(
                shown(&format!("[x]({link})"), None),
                format!("<p><a href=\"{to}\">x</a></p>\n")
            );
        }
        let picture = "<img src=\"/docs/a.svg\" alt=\"A &amp; b\" width=\"640\" height=\"256\" loading=\"lazy\">";
        assert_eq!(
            shown("![A & b](a.svg)", None),
            format!("<p>{picture}</p>\n")
        );
    }

    #[test]
    fn examples_give_way_to_ones_own_values() {
        let text = "`https://rollcall.example.org/sso/start/contoso`, <!--=days-->30 *days*<!--/-->, contoso.\n\n\
                    ```sh\nx --tenant contoso\n```\n\n<!--=rows-->\n\n| A |\n| --- |\n| b |\n\n<!--/-->\n\nEnd <!--=other-->so<!--/-->.";
        let html = shown(text, None);
        for words in [
            "30 <em>days</em>,",
            "<td>b</td>",
            "End so.",
            "contoso</code>",
        ] {
            assert!(html.contains(words), "{words} in {html}");
        }
        let values = Values {
            origin: "https://a.example".to_owned(),
            tenant: "a'b c".to_owned(),
            marked: BTreeMap::from([
                ("days", Marked::Words("<41>".to_owned())),
                (
                    "rows",
                    Marked::Rows(["A", "B"], vec![("<x>".to_owned(), "y".to_owned())]),
                ),
            ]),
        };
        let html = shown(text, Some(&values));
        for words in [
            "<code>https://a.example/sso/start/a%27b%20c</code>, &lt;41&gt;, contoso.",
            "x --tenant &#x27;a&#x27;\\&#x27;&#x27;b c&#x27;",
            "<td><code>&lt;x&gt;</code></td><td>y</td>",
            "End so.",
        ] {
            assert!(html.contains(words), "{words} in {html}");
        }
        assert!(!html.contains("30") && !html.contains("<td>b"), "{html}");
    }
}
