# One image for every process of ours; docker-compose.yml says which command each runs.
FROM python:3.13.1-slim-bookworm

RUN useradd --system --uid 10001 --home /app mathia
WORKDIR /app
COPY requirements.lock .
RUN pip install --no-cache-dir --disable-pip-version-check --only-binary :all: --require-hashes -r requirements.lock
# Invoices are drawn as PDF: names that are not in Latin, Greek, Cyrillic or Hebrew letters need these.
RUN apt-get update && apt-get install -y --no-install-recommends fonts-noto-core && rm -rf /var/lib/apt/lists/*
COPY . .
RUN python -m compileall -q . && install -d -o mathia /files
USER mathia
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# The bootstrap would make a .venv of its own; in the image everything is installed already.
ENTRYPOINT ["python", "-c", "import sys; from bot.cli import main; sys.exit(main(sys.argv[1:]))"]
CMD ["web"]
