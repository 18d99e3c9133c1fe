//! Reads a file of conversations.

use serde_json::Value;

/// From one `==` to the next.
pub struct Conversation {
    pub title: String,
    pub steps: Vec<Step>,
}

/// One thing after the other.
pub enum Step {
    /// `$ …`: a command of the CLI, which must succeed.
    Command(Command),
    /// A request and its answer.
    Exchange(Exchange),
}

/// A command and what is kept of it.
pub struct Command {
    pub line: usize,
    pub arguments: String,
    /// Under what name to keep what it prints.
    pub name: Option<String>,
}

/// A request and what is expected of its answer.
#[derive(Default)]
pub struct Exchange {
    pub line: usize,
    /// How often it is sent.
    pub times: usize,
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<Vec<u8>>,
    pub status: u16,
    /// Under what name to keep the answer's id.
    pub name: Option<String>,
    pub expected_headers: Vec<(String, String)>,
    pub expected_body: Option<Value>,
}

/// Reads a file of conversations. Errors name the line.
pub fn parse(text: &str) -> Result<Vec<Conversation>, String> {
    let mut conversations: Vec<Conversation> = Vec::new();
    let mut expected = String::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let fail = |what: &str| format!("{number}: {what}: {line}");
        if !line.starts_with("< ") || line.starts_with("< as ") {
            take_expected(&mut conversations, &mut expected)?;
        }
        if let Some(title) = line.strip_prefix("== ") {
            conversations.push(Conversation {
                title: title.to_owned(),
                steps: Vec::new(),
            });
            continue;
        }
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let conversation = conversations
            .last_mut()
            .ok_or_else(|| fail("before the first =="))?;
        if let Some(arguments) = line.strip_prefix("$ ") {
            conversation.steps.push(Step::Command(Command {
                line: number,
                arguments: arguments.to_owned(),
                name: None,
            }));
        } else if let Some((times, method, path)) = line.strip_prefix("> ").and_then(request_line) {
            conversation.steps.push(Step::Exchange(Exchange {
                line: number,
                times,
                method,
                path,
                ..Default::default()
            }));
        } else if let (Some(Step::Command(command)), Some(name)) =
            (conversation.steps.last_mut(), kept_name(line))
        {
            command.name = Some(name);
        } else if let Some(Step::Exchange(exchange)) = conversation.steps.last_mut() {
            read_part(exchange, line, &mut expected).map_err(|what| fail(&what))?;
        } else {
            return Err(fail("neither a request nor part of one"));
        }
    }
    take_expected(&mut conversations, &mut expected)?;
    let unanswered = conversations
        .iter()
        .flat_map(|conversation| &conversation.steps)
        .find_map(|step| match step {
            Step::Exchange(exchange) if exchange.status == 0 => Some(exchange.line),
            _ => None,
        });
    match unanswered {
        Some(line) => Err(format!("{line}: no answer is expected")),
        None => Ok(conversations),
    }
}

/// `METHOD /path` or `11 x METHOD /path`.
fn request_line(line: &str) -> Option<(usize, String, String)> {
    let (times, line) = match line.split_once(" x ") {
        Some((times, rest)) if times.parse::<usize>().is_ok() => (times.parse().ok()?, rest),
        _ => (1, line),
    };
    let (method, path) = line.split_once(' ')?;
    let is_request = !method.is_empty()
        && method.bytes().all(|byte| byte.is_ascii_uppercase())
        && path.starts_with(['/', '{']);
    is_request.then(|| (times, method.to_owned(), path.to_owned()))
}

/// A line of a request after its first, or of the expected answer.
fn read_part(exchange: &mut Exchange, line: &str, expected: &mut String) -> Result<(), String> {
    if let Some(raw) = line.strip_prefix(">| ") {
        exchange
            .body
            .get_or_insert_default()
            .extend(unescaped(raw)?);
    } else if let Some(rest) = line.strip_prefix("> ") {
        match (header(rest), &mut exchange.body) {
            (Some(pair), None) => exchange.headers.push(pair),
            (_, body) => body
                .get_or_insert_default()
                .extend_from_slice(rest.as_bytes()),
        }
    } else if let Some(name) = kept_name(line) {
        exchange.name = Some(name);
    } else if let Some(rest) = line.strip_prefix("< ") {
        match (exchange.status, header(rest)) {
            (0, _) => {
                exchange.status = rest
                    .trim()
                    .parse()
                    .map_err(|_| "expected a status".to_owned())?
            }
            (_, Some(pair)) if expected.is_empty() => exchange.expected_headers.push(pair),
            _ => expected.push_str(rest),
        }
    } else {
        return Err("expected >, <, ==, $ or #".to_owned());
    }
    Ok(())
}

/// The name in `< as {name}`.
fn kept_name(line: &str) -> Option<String> {
    let name = line.strip_prefix("< as ")?;
    Some(name.trim_matches(['{', '}']).to_owned())
}

fn header(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_name.then(|| (name.to_owned(), value.trim().to_owned()))
}

/// Reads the expected body that was collected, if any, and gives it to the last exchange.
fn take_expected(conversations: &mut [Conversation], expected: &mut String) -> Result<(), String> {
    if let Some(Step::Exchange(exchange)) = conversations
        .last_mut()
        .and_then(|last| last.steps.last_mut())
        && !expected.is_empty()
    {
        let body = serde_json::from_str(expected);
        exchange.expected_body =
            Some(body.map_err(|error| format!("{}: {error}: {expected}", exchange.line))?);
    }
    expected.clear();
    Ok(())
}

fn unescaped(text: &str) -> Result<Vec<u8>, String> {
    let mut pieces = text.split("\\x");
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let digits = piece.get(..2).ok_or("\\x without two digits")?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|error| error.to_string())?);
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    Ok(bytes)
}
