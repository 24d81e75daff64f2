{#- One row per ticker and session: stocksDailyPricesWFund as a table to read as a stream.

    While only new sessions arrive its commits only add rows, which `spark.readStream.table`
    follows. A correction rewrites rows: a stream that must see it reads the change feed. -#}
{{
    config(
        unique_key = ['ticker', 'price_date'],
        prune_by = 'price_date',
        clustered_by = ['ticker', 'price_date'],
        tblproperties = {'delta.enableChangeDataFeed': 'true'}
    )
}}

with

priceWithFundamentals as (

    select
        ticker,
        price_date,
        open,
        high,
        low,
        close,
        volume,
        adj_close,
        currency,
        fiscal_period,
        period_end,
        eps_basic_net,
        eps_diluted_net,
        filing_type,
        filed_date,
        verified,
        _prices_batch_id,
        _fundamentals_batch_id
    from {{ ref('stocksDailyPricesWFund') }}
    where
        {{ is_new('_prices_batch_id', cursor='_prices_batch_id') }}
        or {{ is_new('_fundamentals_batch_id', cursor='_fundamentals_batch_id') }}

)

select * from priceWithFundamentals
