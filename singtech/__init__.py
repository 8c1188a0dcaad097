"""Singing technique classification after Yamamoto, Nam and Terasawa (Interspeech 2022), to sweep and to question.

The pipeline, and the module of each arrow (B clips, S samples, K techniques):

    VocalSet zip or folder   -> recordings                  data.archive, data.manifest; data.demo makes a synthetic one
    recordings               -> clips of 3 s, int16 store   data.clips
    clips                    -> (B, S) waveforms            data.datamodule
    waveforms                -> (B, 3, 1025, 259)           models.spectrogram: three window lengths as channels
    spectrograms             -> (B, 30) features            models.oblong, models.deformable: the deformable oblong CNN
    features                 -> (B, K) logits               models.network: its last, separate linear layer
    (the baselines           -> (B, K) logits               models.cnn1d on the waveform; training.forest on features)
    strategy                 -> phases, trained once each   training.phases, training.store, training.learner
    test logits              -> one row a run               metrics, training.runs
    rows                     -> results.csv -> tables       results.collate, results.tables, results.figures

    predictions              -> intervals, verdicts         results.resampling, results.verdicts
    a trained network        -> timelines of recordings     models.saved, predicting

Commands: singtech prepare, verify, plan, run, tables, report, pictures, looks, store, export, predict.
"""
