"""BibTeX for what a report rests on: the benchmark, the data sets, the scores, the generator, the loops it repeats."""

from importlib.metadata import PackageNotFoundError, version

from bench.analysis.study import Study

_ENTRIES = {
    "nilsback2008flowers": """@inproceedings{nilsback2008flowers,
  title     = {Automated Flower Classification over a Large Number of Classes},
  author    = {Nilsback, Maria-Elena and Zisserman, Andrew},
  booktitle = {Indian Conference on Computer Vision, Graphics and Image Processing},
  year      = {2008},
}""",
    "wah2011cub": """@techreport{wah2011cub,
  title       = {The {Caltech-UCSD Birds-200-2011} Dataset},
  author      = {Wah, Catherine and Branson, Steve and Welinder, Peter and Perona, Pietro and Belongie, Serge},
  institution = {California Institute of Technology},
  number      = {CNS-TR-2011-001},
  year        = {2011},
}""",
    "heusel2017fid": """@inproceedings{heusel2017fid,
  title     = {{GANs} Trained by a Two Time-Scale Update Rule Converge to a Local {Nash} Equilibrium},
  author    = {Heusel, Martin and Ramsauer, Hubert and Unterthiner, Thomas and Nessler, Bernhard and Hochreiter, Sepp},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2017},
}""",
    "chong2020unbiased": """@inproceedings{chong2020unbiased,
  title     = {Effectively Unbiased {FID} and {Inception Score} and Where to Find Them},
  author    = {Chong, Min Jin and Forsyth, David},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2020},
}""",
    "binkowski2018kid": """@inproceedings{binkowski2018kid,
  title     = {Demystifying {MMD} {GANs}},
  author    = {Bi{\\'n}kowski, Miko{\\l}aj and Sutherland, Danica J. and Arbel, Michael and Gretton, Arthur},
  booktitle = {International Conference on Learning Representations},
  year      = {2018},
}""",
    "kynkaanniemi2019precision": """@inproceedings{kynkaanniemi2019precision,
  title     = {Improved Precision and Recall Metric for Assessing Generative Models},
  author    = {Kynk{\\"a}{\\"a}nniemi, Tuomas and Karras, Tero and Laine, Samuli and Lehtinen, Jaakko and Aila, Timo},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2019},
}""",
    "naeem2020reliable": """@inproceedings{naeem2020reliable,
  title     = {Reliable Fidelity and Diversity Metrics for Generative Models},
  author    = {Naeem, Muhammad Ferjad and Oh, Seong Joon and Uh, Youngjung and Choi, Yunjey and Yoo, Jaejun},
  booktitle = {International Conference on Machine Learning},
  year      = {2020},
}""",
    "friedman2023vendi": """@article{friedman2023vendi,
  title   = {The {Vendi} Score: A Diversity Evaluation Metric for Machine Learning},
  author  = {Friedman, Dan and Dieng, Adji Bousso},
  journal = {Transactions on Machine Learning Research},
  year    = {2023},
}""",
    "szegedy2016inception": """@inproceedings{szegedy2016inception,
  title     = {Rethinking the {Inception} Architecture for Computer Vision},
  author    = {Szegedy, Christian and Vanhoucke, Vincent and Ioffe, Sergey and Shlens, Jon and Wojna, Zbigniew},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
  year      = {2016},
}""",
    "tan2019efficientnet": """@inproceedings{tan2019efficientnet,
  title     = {{EfficientNet}: Rethinking Model Scaling for Convolutional Neural Networks},
  author    = {Tan, Mingxing and Le, Quoc V.},
  booktitle = {International Conference on Machine Learning},
  year      = {2019},
}""",
    "ho2020ddpm": """@inproceedings{ho2020ddpm,
  title     = {Denoising Diffusion Probabilistic Models},
  author    = {Ho, Jonathan and Jain, Ajay and Abbeel, Pieter},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2020},
}""",
    "song2021ddim": """@inproceedings{song2021ddim,
  title     = {Denoising Diffusion Implicit Models},
  author    = {Song, Jiaming and Meng, Chenlin and Ermon, Stefano},
  booktitle = {International Conference on Learning Representations},
  year      = {2021},
}""",
    "lu2022dpmsolverpp": """@misc{lu2022dpmsolverpp,
  title         = {{DPM-Solver++}: Fast Solver for Guided Sampling of Diffusion Probabilistic Models},
  author        = {Lu, Cheng and Zhou, Yuhao and Bao, Fan and Chen, Jianfei and Li, Chongxuan and Zhu, Jun},
  year          = {2022},
  eprint        = {2211.01095},
  archivePrefix = {arXiv},
}""",
    "alemohammad2023mad": """@misc{alemohammad2023mad,
  title         = {Self-Consuming Generative Models Go {MAD}},
  author        = {Alemohammad, Sina and Casco-Rodriguez, Josue and Luzi, Lorenzo and Humayun, Ahmed Imtiaz and
                   Babaei, Hossein and LeJeune, Daniel and Siahkoohi, Ali and Baraniuk, Richard G.},
  year          = {2023},
  eprint        = {2307.01850},
  archivePrefix = {arXiv},
}""",
    "bertrand2023stability": """@misc{bertrand2023stability,
  title         = {On the Stability of Iterative Retraining of Generative Models on their own Data},
  author        = {Bertrand, Quentin and Bose, Avishek Joey and Duplessis, Alexandre and Jiralerspong, Marco and
                   Gidel, Gauthier},
  year          = {2023},
  eprint        = {2310.00429},
  archivePrefix = {arXiv},
}""",
    "gerstgrasser2024inevitable": """@misc{gerstgrasser2024inevitable,
  title         = {Is Model Collapse Inevitable? Breaking the Curse of Recursion by Accumulating Real and Synthetic
                   Data},
  author        = {Gerstgrasser, Matthias and Schaeffer, Rylan and Dey, Apratim and others},
  year          = {2024},
  eprint        = {2404.01413},
  archivePrefix = {arXiv},
}""",
    "kazdan2024collapse": """@misc{kazdan2024collapse,
  title         = {Collapse or Thrive? Perils and Promises of Synthetic Data in a Self-Generating World},
  author        = {Kazdan, Joshua and Schaeffer, Rylan and Dey, Apratim and others},
  year          = {2024},
  eprint        = {2410.16713},
  archivePrefix = {arXiv},
}""",
}
_BY_DATA = {"flowers102": "nilsback2008flowers", "cub200": "wah2011cub"}
_BY_METRIC = {
    "fid": "heusel2017fid",
    "fid_infinity": "chong2020unbiased",
    "kid": "binkowski2018kid",
    "precision": "kynkaanniemi2019precision",
    "recall": "kynkaanniemi2019precision",
    "density": "naeem2020reliable",
    "coverage": "naeem2020reliable",
    "vendi": "friedman2023vendi",
}
_BY_SPACE = {"inception_v3": "szegedy2016inception", "efficientnet_lite0": "tan2019efficientnet"}
_BY_GENERATOR = {"ddpm": "ho2020ddpm"}
_BY_SAMPLER = {"ddim": "song2021ddim", "dpmsolver++": "lu2022dpmsolverpp", "sde-dpmsolver++": "lu2022dpmsolverpp"}
_BY_POLICY = {
    "replace": "alemohammad2023mad",
    "fresh": "alemohammad2023mad",
    "augment": "bertrand2023stability",
    "accumulate": "gerstgrasser2024inevitable",
    "accumulate_subsample": "kazdan2024collapse",
}


def package_version() -> str:
    """Of this benchmark; `unknown` in a tree that was never installed."""
    try:
        return version("diffusion-collapse-bench")
    except PackageNotFoundError:
        return "unknown"


def bibtex(found: list[Study]) -> str:
    """One entry for the benchmark, then one for every cited part that the rows name; each there once."""
    keys: dict[str, None] = {}
    for row in (row for study in found for row in study.rows()):
        sampler = row.config.get("generator", {}).get("sampling", {}).get("sampler")
        wanted = [
            _BY_DATA.get(row.config.get("data", {}).get("name", "")),
            _BY_GENERATOR.get(row.generator),
            _BY_SAMPLER.get(sampler or ""),
            _BY_POLICY.get(row.policy),
            *(_BY_METRIC.get(s["metric"]) for s in row.scores),
            *(_BY_SPACE.get(s["feature_space"]) for s in row.scores),
        ]
        keys.update(dict.fromkeys(key for key in wanted if key))
    number = package_version()
    ours = f"""@software{{diffusion_collapse_bench,
  title   = {{diffusion-collapse-bench: the reference benchmark for diffusion-model collapse}},
  author  = {{{{The diffusion-collapse-bench authors}}}},
  version = {{{number}}},
}}"""
    return "\n\n".join([ours, *(_ENTRIES[key] for key in sorted(keys))]) + "\n"
