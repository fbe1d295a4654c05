// Answers of the server that the page came from.
const MOST_BYTES = 2 ** 25; // that it takes

async function answerOf(file) {
  if (file.size > MOST_BYTES) return { error: `the picture has more than ${MOST_BYTES / 2 ** 20} MiB` };
  const response = await fetch("/picture", { method: "POST", body: file }).catch(() => null);
  return response ? response.json() : { error: "the server does not answer: is it still running?" };
}
