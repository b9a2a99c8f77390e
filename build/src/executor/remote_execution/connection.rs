//! The connection with a server: what it can do, blobs to and from it, and actions.
//!
//! The library for the protocol is asynchronous; its runtime stays in here. Every wait looks at the cancel token too.

use std::collections::HashSet;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bazel_remote_apis::build::bazel::remote::execution::v2::action_cache_client::ActionCacheClient;
use bazel_remote_apis::build::bazel::remote::execution::v2::capabilities_client::CapabilitiesClient;
use bazel_remote_apis::build::bazel::remote::execution::v2::content_addressable_storage_client::ContentAddressableStorageClient;
use bazel_remote_apis::build::bazel::remote::execution::v2::execution_client::ExecutionClient;
use bazel_remote_apis::build::bazel::remote::execution::v2::{
    ActionResult, BatchReadBlobsRequest, BatchUpdateBlobsRequest, Digest, ExecuteRequest, ExecuteResponse, FindMissingBlobsRequest,
    GetActionResultRequest, GetCapabilitiesRequest, WaitExecutionRequest, batch_update_blobs_request, compressor, digest_function,
};
use bazel_remote_apis::google::bytestream::byte_stream_client::ByteStreamClient;
use bazel_remote_apis::google::bytestream::{ReadRequest, WriteRequest};
use bazel_remote_apis::google::longrunning::operation::Result as OperationResult;
use bazel_remote_apis::google::longrunning::operations_client::OperationsClient;
use bazel_remote_apis::google::longrunning::{CancelOperationRequest, Operation};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

use super::RemoteOptions;
use super::tree::{Blobs, Source, digest};
use crate::event::CancelToken;

/// What is put into one message of many blobs, at most. Servers refuse messages of more than 4 MiB.
const MAX_BATCH: i64 = 3 << 20;
/// Size of a piece of a large blob.
const PIECE: usize = 1 << 20;
/// Digests that one question asks about.
const MAX_ASKED: usize = 10_000;
/// How often a stream of an execution that broke is taken up again.
const MAX_RESUMED: u32 = 5;
/// Largest message that describes a tree. More is refused rather than held in memory.
const MAX_MESSAGE: usize = 256 << 20;

/// Why a build could not be run remotely.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum RemoteError {
    #[error("the address '{address}' makes no sense: {source}")]
    Address { address: String, source: tonic::transport::Error },
    #[error("the token has characters that can't be sent")]
    Token,
    #[error("cannot start a thread for the connection: {source}")]
    Runtime { source: io::Error },
    #[error("{what}: {} ({:?})", .status.message(), .status.code())]
    Call { what: &'static str, status: Box<Status> },
    #[error("the server lacks {what}")]
    Incapable { what: &'static str },
    #[error("the server sent {what}")]
    Nonsense { what: String },
    #[error("{what} is not UTF-8, which the protocol needs: '{text}'")]
    NotUtf8 { what: &'static str, text: String },
    #[error("cannot read '{}': {source}", .path.display())]
    Input { path: PathBuf, source: io::Error },
    #[error("cannot write '{}': {source}", .path.display())]
    Output { path: PathBuf, source: io::Error },
    #[error("cannot put '{}' into the build's root directory: something else is there", .path.display())]
    Layout { path: PathBuf },
    #[error("built-in builders run on this machine")]
    Builtin,
}

impl RemoteError {
    pub(super) fn input(path: &Path, source: io::Error) -> RemoteError {
        RemoteError::Input { path: path.to_owned(), source }
    }

    pub(super) fn output(path: &Path, source: io::Error) -> RemoteError {
        RemoteError::Output { path: path.to_owned(), source }
    }

    pub(super) fn nonsense(what: impl Into<String>) -> RemoteError {
        RemoteError::Nonsense { what: what.into() }
    }
}

/// Why a step ended early.
#[derive(Debug)]
pub(super) enum Stopped {
    Cancelled,
    /// By the server, after the action's own limit.
    TimedOut,
    Failed(RemoteError),
}

impl From<RemoteError> for Stopped {
    fn from(error: RemoteError) -> Stopped {
        Stopped::Failed(error)
    }
}

fn call(what: &'static str) -> impl FnOnce(Status) -> RemoteError {
    move |status| RemoteError::Call { what, status: Box::new(status) }
}

/// Adds the token to every request.
#[derive(Clone)]
struct Authorization(Option<MetadataValue<Ascii>>);

impl Interceptor for Authorization {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

type Service = InterceptedService<Channel, Authorization>;

pub(super) struct Connection {
    runtime: tokio::runtime::Runtime,
    service: Service,
    instance: String,
    /// What the server said it can do; asked once.
    is_checked: Mutex<bool>,
    /// Blobs that the server has, as far as is known.
    known: Mutex<HashSet<Digest>>,
}

impl Connection {
    pub(super) fn new(options: &RemoteOptions) -> Result<Connection, RemoteError> {
        let wrong = |source| RemoteError::Address { address: options.address.clone(), source };
        let address = match options.address.split_once("://") {
            Some(("grpc", rest)) => format!("http://{rest}"),
            Some(("grpcs", rest)) => format!("https://{rest}"),
            _ => options.address.clone(),
        };
        let mut endpoint = Endpoint::from_shared(address.clone()).map_err(wrong)?.connect_timeout(Duration::from_secs(15)).http2_keep_alive_interval(Duration::from_secs(60));
        if address.starts_with("https://") {
            endpoint = endpoint.tls_config(ClientTlsConfig::new().with_native_roots()).map_err(wrong)?;
        }
        let token = match &options.token {
            Some(token) => Some(format!("Bearer {token}").parse().map_err(|_| RemoteError::Token)?),
            None => None,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("remote-execution").enable_all().build();
        let runtime = runtime.map_err(|source| RemoteError::Runtime { source })?;
        let channel = runtime.block_on(async { endpoint.connect_lazy() });
        let service = InterceptedService::new(channel, Authorization(token));
        Ok(Connection { runtime, service, instance: options.instance.clone(), is_checked: Mutex::new(false), known: Mutex::default() })
    }

    /// Waits for something, or for the end of all waiting.
    fn wait<T>(&self, cancel: &CancelToken, work: impl Future<Output = Result<T, Stopped>>) -> Result<T, Stopped> {
        self.runtime.block_on(async {
            let cancelled = async {
                let mut ticks = tokio::time::interval(Duration::from_millis(20));
                while !cancel.is_cancelled() {
                    ticks.tick().await;
                }
            };
            tokio::select! {
                biased;
                () = cancelled => Err(Stopped::Cancelled),
                result = work => result,
            }
        })
    }

    /// Uploads what the server lacks and runs an action. `anew` asks for a run even if the result is known.
    pub(super) fn execute(&self, blobs: &Blobs, action: &Digest, anew: bool, cancel: &CancelToken) -> Result<ActionResult, Stopped> {
        self.wait(cancel, async {
            self.check_capabilities().await?;
            if !anew && let Some(result) = self.cached(action).await? {
                return Ok(result);
            }
            self.upload(blobs).await?;
            match self.run(action, anew, cancel).await {
                // The server has dropped what it had.
                Err(Stopped::Failed(RemoteError::Call { status, .. })) if status.code() == Code::FailedPrecondition => {
                    self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
                    self.upload(blobs).await?;
                    self.run(action, anew, cancel).await
                }
                other => other,
            }
        })
    }

    async fn check_capabilities(&self) -> Result<(), RemoteError> {
        if *self.is_checked.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(());
        }
        let request = GetCapabilitiesRequest { instance_name: self.instance.clone() };
        let answer = CapabilitiesClient::new(self.service.clone()).get_capabilities(request).await;
        let answer = answer.map_err(call("cannot ask the server what it can do"))?.into_inner();
        let sha256 = digest_function::Value::Sha256 as i32;
        if !answer.cache_capabilities.is_some_and(|cache| cache.digest_functions.contains(&sha256)) {
            return Err(RemoteError::Incapable { what: "digests by SHA-256" });
        }
        if !answer.execution_capabilities.is_some_and(|execution| execution.exec_enabled) {
            return Err(RemoteError::Incapable { what: "execution" });
        }
        *self.is_checked.lock().unwrap_or_else(PoisonError::into_inner) = true;
        Ok(())
    }

    /// Returns the result of an action that the server knows already.
    async fn cached(&self, action: &Digest) -> Result<Option<ActionResult>, RemoteError> {
        let request = GetActionResultRequest {
            instance_name: self.instance.clone(),
            action_digest: Some(action.clone()),
            digest_function: digest_function::Value::Sha256 as i32,
            ..GetActionResultRequest::default()
        };
        match ActionCacheClient::new(self.service.clone()).get_action_result(request).await {
            // A failure is tried again: it may have been the machine's.
            Ok(answer) => Ok(Some(answer.into_inner()).filter(|result| result.exit_code == 0)),
            Err(status) if matches!(status.code(), Code::NotFound | Code::Unimplemented | Code::PermissionDenied) => Ok(None),
            Err(status) => Err(call("cannot ask for a known result")(status)),
        }
    }

    async fn upload(&self, blobs: &Blobs) -> Result<(), Stopped> {
        let unknown: Vec<Digest> = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            blobs.digests().filter(|digest| !known.contains(*digest)).cloned().collect()
        };
        for asked in unknown.chunks(MAX_ASKED) {
            let request = FindMissingBlobsRequest {
                instance_name: self.instance.clone(),
                blob_digests: asked.to_vec(),
                digest_function: digest_function::Value::Sha256 as i32,
            };
            let answer = self.storage().find_missing_blobs(request).await.map_err(call("cannot ask for missing blobs"))?.into_inner();
            let mut batch: Vec<(Digest, &Source)> = Vec::new();
            let mut batch_size = 0;
            for digest in answer.missing_blob_digests {
                let source = blobs.get(&digest).ok_or_else(|| RemoteError::nonsense("the digest of a blob that it was not asked about"))?;
                if digest.size_bytes > MAX_BATCH {
                    self.upload_large(&digest, source).await?;
                    continue;
                }
                if batch_size + digest.size_bytes > MAX_BATCH || batch.len() == 4000 {
                    self.upload_batch(std::mem::take(&mut batch)).await?;
                    batch_size = 0;
                }
                batch_size += digest.size_bytes;
                batch.push((digest, source));
            }
            self.upload_batch(batch).await?;
            self.known.lock().unwrap_or_else(PoisonError::into_inner).extend(asked.iter().cloned());
        }
        Ok(())
    }

    async fn upload_batch(&self, batch: Vec<(Digest, &Source)>) -> Result<(), RemoteError> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut requests = Vec::new();
        for (digest, source) in batch {
            let data = match source {
                Source::Bytes(bytes) => bytes.clone(),
                Source::File(path) => tokio::fs::read(path).await.map_err(|error| RemoteError::input(path, error))?,
            };
            requests.push(batch_update_blobs_request::Request { digest: Some(digest), data, compressor: compressor::Value::Identity as i32 });
        }
        let request = BatchUpdateBlobsRequest { instance_name: self.instance.clone(), requests, digest_function: digest_function::Value::Sha256 as i32 };
        let answer = self.storage().batch_update_blobs(request).await.map_err(call("cannot upload blobs"))?.into_inner();
        match answer.responses.into_iter().filter_map(|response| response.status).find(|status| status.code != 0) {
            Some(status) => Err(call("the server refused a blob")(Status::new(Code::from_i32(status.code), status.message))),
            None => Ok(()),
        }
    }

    /// Uploads a blob piece by piece, so that no file is held in memory.
    async fn upload_large(&self, digest: &Digest, source: &Source) -> Result<(), RemoteError> {
        let name = format!("uploads/{}/blobs/{}/{}", unique(), digest.hash, digest.size_bytes);
        let name = if self.instance.is_empty() { name } else { format!("{}/{name}", self.instance) };
        let (sender, receiver) = tokio::sync::mpsc::channel::<WriteRequest>(4);
        let send = async {
            let mut reader: Box<dyn tokio::io::AsyncRead + Send + Unpin> = match source {
                Source::Bytes(bytes) => Box::new(io::Cursor::new(bytes.clone())),
                Source::File(path) => Box::new(tokio::fs::File::open(path).await.map_err(|error| RemoteError::input(path, error))?),
            };
            let mut offset = 0;
            while offset < digest.size_bytes {
                let mut data = vec![0; PIECE.min(usize::try_from(digest.size_bytes - offset).unwrap_or(PIECE))];
                reader.read_exact(&mut data).await.map_err(|error| match source {
                    Source::File(path) => RemoteError::input(path, error),
                    Source::Bytes(_) => RemoteError::nonsense("less than was sent"),
                })?;
                let end = offset + data.len() as i64;
                let request = WriteRequest { resource_name: name.clone(), write_offset: offset, finish_write: end == digest.size_bytes, data };
                offset = end;
                // The server has the blob meanwhile, or has said why not.
                if sender.send(request).await.is_err() {
                    break;
                }
            }
            drop(sender);
            Ok(())
        };
        let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let mut client = ByteStreamClient::new(self.service.clone());
        let (sent, answer) = tokio::join!(send, client.write(stream));
        sent?;
        let answer = answer.map_err(call("cannot upload a large blob"))?.into_inner();
        if answer.committed_size != digest.size_bytes && answer.committed_size != -1 {
            return Err(RemoteError::nonsense(format!("word of {} bytes of a blob of {}", answer.committed_size, digest.size_bytes)));
        }
        Ok(())
    }

    async fn run(&self, action: &Digest, anew: bool, cancel: &CancelToken) -> Result<ActionResult, Stopped> {
        let request = ExecuteRequest {
            instance_name: self.instance.clone(),
            skip_cache_lookup: anew,
            action_digest: Some(action.clone()),
            digest_function: digest_function::Value::Sha256 as i32,
            inline_stdout: true,
            inline_stderr: true,
            ..ExecuteRequest::default()
        };
        let mut client = ExecutionClient::new(self.service.clone());
        let mut stream = client.execute(request).await.map_err(call("cannot start the build"))?.into_inner();
        // Whatever ends the wait early ends the execution.
        let mut name = Abandoned { connection: self, name: String::new(), cancel };
        let mut n_resumed = 0;
        loop {
            match stream.message().await {
                Ok(Some(operation)) => {
                    name.name.clone_from(&operation.name);
                    if operation.done {
                        name.name.clear();
                        return finished(operation);
                    }
                }
                other => {
                    // Connections break; executions go on.
                    let broken = matches!(&other, Err(status) if !matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled));
                    n_resumed += 1;
                    if broken || name.name.is_empty() || n_resumed > MAX_RESUMED {
                        let status = other.err().unwrap_or_else(|| Status::unavailable("the server stopped to speak of the build"));
                        return Err(call("the build ended without a result")(status).into());
                    }
                    let request = WaitExecutionRequest { name: name.name.clone() };
                    stream = client.wait_execution(request).await.map_err(call("cannot take the build up again"))?.into_inner();
                }
            }
        }
    }

    /// Returns what the builder wrote: its standard output, then its standard error.
    pub(super) fn log(&self, result: &ActionResult, cancel: &CancelToken) -> Result<Vec<Vec<u8>>, Stopped> {
        let mut texts = Vec::new();
        for (raw, stored) in [(&result.stdout_raw, &result.stdout_digest), (&result.stderr_raw, &result.stderr_digest)] {
            match stored {
                Some(stored) if raw.is_empty() && stored.size_bytes > 0 => texts.push(self.bytes(stored, cancel)?),
                _ => texts.push(raw.clone()),
            }
        }
        Ok(texts)
    }

    /// Downloads a blob into memory, and checks it.
    pub(super) fn bytes(&self, wanted: &Digest, cancel: &CancelToken) -> Result<Vec<u8>, Stopped> {
        if !usize::try_from(wanted.size_bytes).is_ok_and(|size| size <= MAX_MESSAGE) {
            return Err(RemoteError::nonsense(format!("a message of {} bytes", wanted.size_bytes)).into());
        }
        self.wait(cancel, async {
            let mut bytes = Vec::new();
            self.read(wanted, &mut bytes).await?;
            if digest(&bytes) != *wanted {
                return Err(RemoteError::nonsense(format!("other bytes than those of '{}'", wanted.hash)).into());
            }
            Ok(bytes)
        })
    }

    /// Downloads blobs into new files, many at once. The files' bytes are not checked: whoever registers them hashes them.
    pub(super) fn files(&self, wanted: &[(Digest, PathBuf)], cancel: &CancelToken) -> Result<(), Stopped> {
        self.wait(cancel, async {
            let mut batch: Vec<&(Digest, PathBuf)> = Vec::new();
            let mut batch_size = 0;
            for item in wanted {
                let (digest, path) = item;
                if digest.size_bytes > MAX_BATCH {
                    let mut file = create(path).await?;
                    self.read(digest, &mut file).await?;
                    file.flush().await.map_err(|error| RemoteError::output(path, error))?;
                    continue;
                }
                if batch_size + digest.size_bytes > MAX_BATCH || batch.len() == 1000 {
                    self.read_batch(std::mem::take(&mut batch)).await?;
                    batch_size = 0;
                }
                batch_size += digest.size_bytes;
                batch.push(item);
            }
            self.read_batch(batch).await
        })
    }

    async fn read_batch(&self, batch: Vec<&(Digest, PathBuf)>) -> Result<(), Stopped> {
        if batch.is_empty() {
            return Ok(());
        }
        let asked: HashSet<&Digest> = batch.iter().map(|(digest, _)| digest).collect();
        let request = BatchReadBlobsRequest {
            instance_name: self.instance.clone(),
            digests: asked.into_iter().cloned().collect(),
            acceptable_compressors: vec![compressor::Value::Identity as i32],
            digest_function: digest_function::Value::Sha256 as i32,
        };
        let answer = self.storage().batch_read_blobs(request).await.map_err(call("cannot download blobs"))?.into_inner();
        let mut blobs = std::collections::HashMap::new();
        for response in answer.responses {
            if let Some(status) = response.status.filter(|status| status.code != 0) {
                return Err(call("the server lacks an output")(Status::new(Code::from_i32(status.code), status.message)).into());
            }
            if let Some(name) = response.digest {
                if digest(&response.data) != name {
                    return Err(RemoteError::nonsense(format!("other bytes than those of '{}'", name.hash)).into());
                }
                blobs.insert(name, response.data);
            }
        }
        for (digest, path) in batch {
            let data = blobs.get(digest).ok_or_else(|| RemoteError::nonsense(format!("no bytes for '{}'", digest.hash)))?;
            let mut file = create(path).await?;
            file.write_all(data).await.map_err(|error| RemoteError::output(path, error))?;
            file.flush().await.map_err(|error| RemoteError::output(path, error))?;
        }
        Ok(())
    }

    async fn read(&self, wanted: &Digest, sink: &mut (impl tokio::io::AsyncWrite + Unpin)) -> Result<(), RemoteError> {
        if wanted.size_bytes == 0 {
            return Ok(());
        }
        let name = format!("blobs/{}/{}", wanted.hash, wanted.size_bytes);
        let resource_name = if self.instance.is_empty() { name } else { format!("{}/{name}", self.instance) };
        let request = ReadRequest { resource_name, read_offset: 0, read_limit: 0 };
        let mut stream = ByteStreamClient::new(self.service.clone()).read(request).await.map_err(call("cannot download a blob"))?.into_inner();
        let mut n_bytes = 0;
        while let Some(piece) = stream.message().await.map_err(call("cannot download a blob"))? {
            n_bytes += piece.data.len() as i64;
            if n_bytes > wanted.size_bytes {
                return Err(RemoteError::nonsense(format!("more bytes than '{}' has", wanted.hash)));
            }
            sink.write_all(&piece.data).await.map_err(|error| RemoteError::output(Path::new(&wanted.hash), error))?;
        }
        if n_bytes == wanted.size_bytes { Ok(()) } else { Err(RemoteError::nonsense(format!("less bytes than '{}' has", wanted.hash))) }
    }

    fn storage(&self) -> ContentAddressableStorageClient<Service> {
        ContentAddressableStorageClient::new(self.service.clone()).max_decoding_message_size(16 << 20)
    }
}

/// An execution that is cancelled when nobody waits for it any more.
struct Abandoned<'c> {
    connection: &'c Connection,
    /// Empty once there is nothing to cancel.
    name: String,
    cancel: &'c CancelToken,
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        if !self.name.is_empty() && self.cancel.is_cancelled() {
            let request = CancelOperationRequest { name: std::mem::take(&mut self.name) };
            let mut client = OperationsClient::new(self.connection.service.clone());
            self.connection.runtime.spawn(async move {
                // Servers need not be able to.
                let _ = tokio::time::timeout(Duration::from_secs(5), client.cancel_operation(request)).await;
            });
        }
    }
}

fn finished(operation: Operation) -> Result<ActionResult, Stopped> {
    let any = match operation.result {
        Some(OperationResult::Response(any)) => any,
        Some(OperationResult::Error(status)) => {
            return Err(call("the build could not be run")(Status::new(Code::from_i32(status.code), status.message)).into());
        }
        None => return Err(RemoteError::nonsense("no result of the build").into()),
    };
    let response = ExecuteResponse::decode(&any.value[..]).map_err(|error| RemoteError::nonsense(format!("a result that can't be read: {error}")))?;
    if let Some(status) = response.status.filter(|status| status.code != 0) {
        let code = Code::from_i32(status.code);
        if code == Code::DeadlineExceeded {
            return Err(Stopped::TimedOut);
        }
        return Err(call("the build could not be run")(Status::new(code, status.message)).into());
    }
    response.result.ok_or_else(|| RemoteError::nonsense("no result of the build").into())
}

async fn create(path: &Path) -> Result<tokio::fs::File, RemoteError> {
    tokio::fs::OpenOptions::new().write(true).create_new(true).open(path).await.map_err(|error| RemoteError::output(path, error))
}

/// Returns a name that no other upload has, in the form of a UUID.
fn unique() -> String {
    use std::hash::{BuildHasher, RandomState};
    let random = || RandomState::new().hash_one(std::time::SystemTime::now());
    let (a, b) = (random(), random());
    format!("{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}", a >> 32, a >> 16 & 0xffff, a & 0xfff, b >> 52, b & 0xffff_ffff_ffff)
}
