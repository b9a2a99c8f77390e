//! `serve`: the store as a binary cache over HTTP. Not a command of the reference.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use nixlang_store::binary_cache::server::{Answer, AnswerBody, CacheServer, ServerOptions};
use nixlang_store::compression::Compression;
use tiny_http::{Header, Method, Request, Response, Server, StatusCode};

use super::Invocation;
use crate::failure::{Failure, Outcome, plain};
use crate::ui::Verbosity;

/// Requests that are answered at the same time.
const N_WORKERS: usize = 16;

/// `serve [--listen ADDRESS:PORT] [--priority N] [--compression METHOD] [--key-file FILE]`
pub(super) fn run(mut invocation: Invocation) -> Outcome<u8> {
    let mut address = "127.0.0.1:8080".to_owned();
    let mut options = ServerOptions::default();
    let mut key_files = Vec::new();
    invocation.parse(
        |flag, args| {
            match flag {
                "--listen" => address = args.value(flag)?,
                "--priority" => options.priority = args.value(flag)?.parse().map_err(|_| Failure::Usage("'--priority' takes a number".into()))?,
                "--compression" => {
                    let name = args.value(flag)?;
                    options.compression = Compression::from_name(&name).ok_or_else(|| Failure::Usage(format!("unknown compression method '{name}'")))?;
                }
                "-k" | "--key-file" => key_files.push(args.value(flag)?),
                _ => return Ok(false),
            }
            Ok(true)
        },
        |word, _| Err(Failure::Usage(format!("unexpected argument '{word}'"))),
    )?;
    let context = invocation.context()?;
    for file in key_files {
        options.secret_keys.push(nixlang_store::open::secret_key(&file)?);
    }
    let cache = CacheServer::new(context.store.any()?, options);
    let address: SocketAddr = address.parse().map_err(|_| Failure::Usage(format!("'{address}' is not ADDRESS:PORT")))?;
    let listener = TcpListener::bind(address).map_err(|error| Failure::new(format!("listening on {address}: {}", plain(&error))))?;
    let server = Server::from_listener(listener, None).map_err(|error| Failure::new(format!("listening on {address}: {error}")))?;
    let server = Arc::new(server);
    let shown = server.server_addr().to_ip().map_or_else(String::new, |address| address.to_string());
    context.ui.line(Verbosity::ERROR, &format!("serving '{}' at http://{shown}", context.store.any()?.address()));
    std::thread::scope(|scope| {
        for _ in 0..N_WORKERS {
            scope.spawn(|| {
                while let Ok(request) = server.recv() {
                    // A client that went away is none of our business.
                    let _ = answer(&cache, request);
                }
            });
        }
        while !context.cancel.is_cancelled() {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        for _ in 0..N_WORKERS {
            server.unblock();
        }
    });
    Ok(0)
}

fn answer(cache: &CacheServer, request: Request) -> io::Result<()> {
    if !matches!(request.method(), Method::Get | Method::Head) {
        return request.respond(Response::empty(StatusCode(405)));
    }
    let range = request.headers().iter().find(|header| header.field.equiv("range")).map(|header| header.value.to_string());
    let Answer { status, content_type, size, part, accepts_ranges, body } = cache.answer(request.url(), range.as_deref());
    let mut headers = vec![header("Content-Type", content_type)];
    if accepts_ranges {
        headers.push(header("Accept-Ranges", "bytes"));
    }
    match part {
        Some((_, size)) if status == 416 => headers.push(header("Content-Range", &format!("bytes */{size}"))),
        Some((range, size)) => headers.push(header("Content-Range", &format!("bytes {}-{}/{size}", range.start, range.end - 1))),
        None => {}
    }
    let size = size.and_then(|size| usize::try_from(size).ok());
    match body {
        _ if *request.method() == Method::Head => request.respond(Response::new(StatusCode(status), headers, io::empty(), size, None)),
        AnswerBody::Bytes(bytes) => request.respond(Response::new(StatusCode(status), headers, io::Cursor::new(bytes), size, None)),
        body @ AnswerBody::Archive(_) => {
            let (reader, mut writer) = io::pipe()?;
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    let mut buffered = io::BufWriter::with_capacity(128 * 1024, &mut writer);
                    // An archive that breaks off is shorter than announced, which the client sees.
                    let written = body.write_to(&mut buffered).is_ok();
                    if written {
                        let _ = buffered.flush();
                    }
                    let _ = buffered.into_parts();
                });
                request.respond(Response::new(StatusCode(status), headers, io::BufReader::with_capacity(128 * 1024, reader), size, None))
            })
        }
    }
}

fn header(name: &str, value: &str) -> Header {
    Header::from_bytes(name, value).expect("names and values of our own are ASCII")
}
