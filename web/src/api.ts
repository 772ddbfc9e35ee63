import type { HttpError, ServerInfo, TrackState, UploadOk } from "./generated/wire";

const key = new URLSearchParams(location.search).get("apiKey");

/** A path of the pod, with the key that the page was opened with. */
function withKey(path: string): string {
  if (!key) return path;
  return `${path}${path.includes("?") ? "&" : "?"}apiKey=${encodeURIComponent(key)}`;
}

export function socketUrl(): string {
  return withKey(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
}

async function getJson<T>(path: string): Promise<T> {
  const answer = await fetch(withKey(path));
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${answer.statusText}`);
  return (await answer.json()) as T;
}

export const serverInfo = (): Promise<ServerInfo> => getJson("/api/server-info");
export const userUploads = (): Promise<string[]> => getJson("/api/user_uploads");
export const fixtures = (): Promise<string[]> => getJson("/api/fixtures");
export const trackState = (name: string): Promise<TrackState> => getJson(`/api/tracks/${encodeURIComponent(name)}`);

/** Uploads the file as it is; `progress` gets the share that was sent. */
export function uploadTrack(file: File, progress: (sent: number) => void): Promise<UploadOk> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", withKey(`/api/tracks?name=${encodeURIComponent(file.name)}`));
    request.responseType = "json";
    request.upload.onprogress = ({ loaded, total }) => progress(total ? loaded / total : 0);
    request.onerror = () => reject(new Error("the pod could not be reached"));
    request.onload = () => {
      if (request.status === 200 || request.status === 201) resolve(request.response as UploadOk);
      else reject(new Error((request.response as HttpError | null)?.error ?? `the pod answered ${request.status}`));
    };
    request.send(file);
  });
}
